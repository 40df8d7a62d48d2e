//! `runlog`, as its own package builds it.

use std::process::ExitCode;

fn main() -> ExitCode {
    runlog::cli::main()
}
