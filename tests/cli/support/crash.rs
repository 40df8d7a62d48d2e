//! Faults: system calls at which strace returns an error or kills the process, and full disks.
//!
//! Without strace or mounts, the helpers print `skipped: …`, and the test passes.

use std::fs;

use super::env::{Output, TestEnv, finish};

/// Returns whether strace works here, and prints `skipped: …` if it does not.
pub(crate) fn has_strace(env: &TestEnv) -> bool {
    let probe = env.sh("strace -o /dev/null true");
    if probe.code != 0 {
        eprintln!("skipped: strace cannot be used here: {}", probe.stderr());
    }
    probe.code == 0
}

/// Runs `runlog` under strace, which injects a fault as described for `--inject` in strace(1).
///
/// `options` are further options of strace.
pub(crate) fn run_with_fault(
    env: &TestEnv,
    options: &[&str],
    fault: &str,
    args: &[&str],
) -> Output {
    let mut command = env.program("strace");
    command.args(["-f", "-q", "-o"]).arg(env.trace_path());
    command.args(options).arg("-e");
    command.arg(format!("inject={fault}"));
    finish(command.arg(env!("CARGO_BIN_EXE_runlog")).args(args))
}

/// Injects a fault at the first, second, … call of each of `calls`, until there are no more
/// calls. Returns how many faults were injected.
///
/// `attempt` receives the fault and runs `runlog` with it. It returns `None` if no call was hit.
pub(crate) fn at_each_call(
    calls: &[&str],
    fault: &str,
    attempt: impl Fn(&str) -> Option<()>,
) -> usize {
    let mut hits = 0;
    for call in calls {
        for nth in 1.. {
            if attempt(&format!("{call}:{fault}:when={nth}")).is_none() {
                break;
            }
            hits += 1;
        }
    }
    hits
}

/// Returns whether the last [`run_with_fault`] injected its fault.
pub(crate) fn was_hit(env: &TestEnv) -> bool {
    let trace = fs::read(env.trace_path()).unwrap();
    let trace = String::from_utf8_lossy(&trace);
    trace.contains("INJECTED") || trace.contains("killed by SIGKILL")
}

/// Runs a script in the directory `small`, which is a file system of 1 MiB.
pub(crate) fn on_small_disk(env: &TestEnv, script: &str) -> Option<Output> {
    fs::create_dir(env.path("small")).unwrap();
    let script =
        format!("mount -t tmpfs -o size=1m none small || exit 99; cd small || exit 99\n{script}");
    let output = finish(env.program("unshare").args(["-m", "sh", "-c", &script]));
    if output.code == 99 || output.stderr().starts_with("unshare") {
        eprintln!("skipped: no mounts can be made here: {}", output.stderr());
        return None;
    }
    Some(output)
}
