//! Hints for commands that are not found although they work in a shell.

use std::path::Path;

use super::args::Args;
use crate::volume::{LockName, Volume};

/// Commands that exist only as shell builtins.
const SHELL_BUILTINS: [&str; 19] = [
    ".", "alias", "bg", "builtin", "command", "declare", "eval", "exec", "export", "fg", "jobs",
    "local", "set", "shopt", "source", "trap", "ulimit", "umask", "unset",
];

/// Returns what the user may have meant by a command that was not found.
pub(super) fn not_found_hint(args: &Args, volume: &Volume) -> Option<String> {
    let program = args.command.first()?.to_str()?;
    if args.lock.is_unnamed() && args.command.len() > 1 && program.parse::<LockName>().is_ok() {
        return Some(format!(
            "check the spelling of the command; a lock is named with --lock={program}"
        ));
    }
    if program == "cd" {
        return Some("set the directory with --cwd DIR".to_owned());
    }
    if SHELL_BUILTINS.contains(&program) {
        return Some(format!(
            "run the shell builtin `{program}` in a shell: `runlog run sh -c '…'`"
        ));
    }
    if is_assignment(program) {
        let name = program.split('=').next().unwrap_or_default();
        return Some(format!("set a variable with --env {name}=VALUE"));
    }
    let is_line = program.contains(|c: char| c.is_whitespace() || "|&;<>".contains(c));
    let has_operator = args
        .command
        .iter()
        .any(|arg| arg == "|" || arg == "&&" || arg == ">");
    if is_line || has_operator {
        return Some("run a line of shell with `runlog run sh -c '…'`".to_owned());
    }
    let dir = args.cwd.as_deref().unwrap_or(Path::new("."));
    if !program.contains('/') && dir.join(program).is_file() {
        return Some(format!("write `./{program}` for the file in its directory"));
    }
    let is_in_volume = program.contains('/') && volume.path().join(program).exists();
    if is_in_volume && args.cwd.is_none() && Path::new(program).is_relative() {
        return Some("choose the directory with --cwd DIR; -C selects the volume".to_owned());
    }
    None
}

/// Returns whether a word is an assignment, as in `FOO=1 make`.
fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else {
        return false;
    };
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
