//! How Kennet's programs end: one number per kind of failure, the same for all of them.

/// A program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// It did what it was asked to.
    Success = 0,
    /// It failed at that.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// Its config is wrong.
    Config = 3,
    /// Its data directory can't be used.
    DataDirectory = 4,
    /// A port can't be opened.
    Port = 5,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
