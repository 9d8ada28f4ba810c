//! The command.

use std::process::ExitCode;

fn main() -> ExitCode {
    outlierd::cli::main()
}
