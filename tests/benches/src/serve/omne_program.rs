//! `omne status` of omne-cli 0.2.0, like its `main` for that command.

use std::process::ExitCode;

use clap::Parser;
use omne_cli::cli::{Cli, Command};
use omne_cli::commands::status;

fn main() -> ExitCode {
    let Command::Status(args) = Cli::parse().command else {
        return ExitCode::from(2);
    };
    match status::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
