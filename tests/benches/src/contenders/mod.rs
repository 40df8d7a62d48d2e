//! The contenders, each in a separate process.

mod floor;
mod helpers;
mod omne;
mod ours;

pub use omne::write_run as write_run_of_omne;
pub use ours::write_run;

use crate::serve::{Done, serve as serve_stdin};

/// The length of an event's line, in bytes.
pub const EVENT: usize = 388;

/// Serves the contender `what`.
pub fn serve(what: &str, args: &[String]) -> Done {
    match (what, args) {
        ("ours", [root, run]) => serve_stdin(&mut ours::Ours::open(root, run)?),
        ("omne", [root, run]) => serve_stdin(&mut omne::Omne::open(root, run)?),
        ("floor", [file]) => serve_stdin(&mut floor::Floor::open(file)?),
        ("hold", [file]) => helpers::hold(file),
        ("print", [bytes]) => helpers::print(bytes.parse()?),
        _ => Err("unknown contender".into()),
    }
}
