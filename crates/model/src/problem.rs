//! What is wrong with a spec: the field, its value, and what to do about it.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as a path from the object's root.
    pub field: String,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub remedy: String,
}

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// One thing that is wrong.
    #[must_use]
    pub fn new(field: &str, value: &str, remedy: &str) -> Self {
        /// A value that is longer says no more.
        const VALUE_CHARS_MAX: usize = 100;
        let value = value.chars().take(VALUE_CHARS_MAX).collect();
        Self { field: field.to_owned(), value, remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is '{}': {}", self.field, self.value, self.remedy)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
