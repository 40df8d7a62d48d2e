//! `run --log-optional`: runs the command even if no log can be written.

use std::path::Path;
use std::process::ExitCode;

use super::args::{Args, IfKilled};
use super::detach_channel::{Channel, report};
use crate::cli::context::print_stderr;
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::job::{JobSpec, exec_unlogged};

/// Returns whether the command may run although runlog failed with this code: not if the
/// arguments are wrong, and not without the lock or the masks that the user asked for.
pub(super) fn is_allowed(args: &Args, code: Code) -> bool {
    let is_required = args.lock.name("").is_some() || args.redact_passed_on;
    args.log_optional && code != Code::Usage && !is_required
}

/// Returns the warning that replaces the error `text`.
pub(super) fn warning(args: &Args, text: &str) -> String {
    let reason = text.strip_prefix("error: ").unwrap_or(text);
    let hooks = args.hooks.hooks(args.delivery());
    let ignored: Vec<_> = [
        ("--timeout", args.timeout.is_some()),
        ("--kill-after", args.kill_after.is_some()),
        ("--if-killed", args.if_killed == Some(IfKilled::Keep)),
        ("--retries", args.retry.max_retries() > 0),
        ("--fail-if-shorter", args.fail_if_shorter.is_some()),
        ("--fail-if-longer", args.fail_if_longer.is_some()),
        ("--rollback", args.rollback.is_some()),
        ("--on-success", hooks.on_success.is_some()),
        ("--on-failure", hooks.on_failure.is_some()),
        ("--on-end", hooks.on_end.is_some()),
        ("--sample", args.sample.is_some()),
        ("--trace", args.trace),
        ("--id-file", args.id_file.is_some()),
        ("--quiet", args.quiet),
        ("--quiet-on-success", args.quiet_on_success),
        ("--tty", args.streams.sets_terminal()),
        ("--streams", args.streams.sets_layout()),
    ]
    .into_iter()
    .filter_map(|(flag, given)| given.then_some(flag))
    .collect();
    let mut warning = format!("warning: the command runs without a log: {reason}");
    if !ignored.is_empty() {
        warning.push_str("\nwarning: without a log, these are ignored: ");
        warning.push_str(&ignored.join(", "));
    }
    warning
}

/// Warns that nothing is logged; with `--detach`, the caller gets the warning too.
pub(super) fn warn(args: &Args, channel: &Channel, text: &str) {
    let text = warning(args, text);
    print_stderr(&text);
    report(channel, &format!("{} {text}", Code::Ok as u8));
}

/// Replaces this process with the command. Returns only if that fails.
pub(super) fn execute(spec: &JobSpec, volume: &Path) -> ExitCode {
    let path = std::env::var_os("PATH");
    let error = exec_unlogged(spec, volume, path.as_deref());
    let (code, text) = exit::not_started(&error, None);
    print_stderr(text);
    code.into()
}
