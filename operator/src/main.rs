//! `kennet-operator`: the program; everything is in the library.

fn main() -> std::process::ExitCode {
    kennet_operator::main().into()
}
