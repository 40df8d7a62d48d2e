//! System calls that an old kernel does not know, or a filter rejects. strace makes them fail.

use crate::support::crash::{has_strace, run_with_fault};
use crate::support::env::{Background, TestEnv, wait_until};

#[test]
fn process_left_behind_keeps_no_lock_without_close_range() {
    let env = TestEnv::new();
    if !has_strace(&env) {
        return;
    }
    let mut run = env.program("strace");
    run.args(["-f", "-q", "-o"]).arg(env.trace_path());
    run.args(["-e", "inject=close_range:error=ENOSYS"]);
    run.arg(env!("CARGO_BIN_EXE_runlog"));
    let script = "until test -e go; do sleep 0.01; done & touch started";
    let run = Background::new(run.args(["run", "-q", "--lock=L", "--", "sh", "-c", script]));
    env.wait_for("run_closed");
    let next = ["run", "-q", "--lock=L", "--if-locked", "fail", "--", "true"];
    wait_until("the lock is free", || env.run(&next).code == 0);
    env.write("go", "");
    assert_eq!(run.wait().code, 0);
}

#[test]
fn run_is_stopped_without_pidfd() {
    let env = TestEnv::new();
    if !has_strace(&env) {
        return;
    }
    for (call, run) in [("pidfd_open", "a"), ("pidfd_send_signal", "b")] {
        let job = env.spawn(&["run", "-q", "--run", run, "--close", "--", "sleep", "1000"]);
        wait_until("the job is started", || {
            env.types(run).contains(&"job_started".to_owned())
        });
        let stopped = run_with_fault(&env, &[], &format!("{call}:error=ENOSYS"), &["stop", run]);
        assert_eq!(stopped.code, 0, "{call}: {}", stopped.stderr());
        assert_eq!(job.wait().code, 1000 + 15);
    }
}
