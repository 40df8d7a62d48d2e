//! Signals to `runlog run`, and the properties that a job inherits from runlog.

use rustix::process::{Signal, kill_process_group};

use crate::support::crash::{has_strace, run_with_fault};
use crate::support::env::{Background, TestEnv, finish, pid_of, wait_until};

/// A job that logs each signal to a file and exits when its stdin ends.
const COUNTER: &str = r#"
    for s in INT TERM HUP QUIT USR1 USR2; do trap "echo $s >>got" $s; done
    touch ready
    while test -d .omne && ! test -e stop; do sleep 0.01; done
"#;

#[test]
fn signal_reaches_job_once() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--", "sh", "-c", COUNTER]);
    env.wait_for_file("ready");
    let mut expected = String::new();
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        job.signal(signal);
        expected.extend([name, "\n"]);
        let got = || std::fs::read_to_string(env.path("got")).unwrap_or_default();
        wait_until(name, || got().len() >= expected.len());
        assert_eq!(got(), expected);
    }
    env.write("stop", "");
    assert_eq!(job.wait().code, 0);
    let got = std::fs::read_to_string(env.path("got")).unwrap();
    assert_eq!(got, expected, "nothing came twice");
}

#[test]
fn signal_reaches_child_processes_of_job() {
    let env = TestEnv::new();
    let script = r#"sh -c 'trap "touch child_got; exit" TERM; touch ready; while test -d .omne; do sleep 0.01; done' & trap : TERM; wait; wait"#;
    let job = env.spawn(&["run", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    env.wait_for_file("child_got");
    job.end();
}

#[test]
fn job_killed_by_forwarded_signal_records_it() {
    // A code of 1000 and more: the signal ended runlog itself.
    for (signal, code, name) in [
        (Signal::INT, 1002, "SIGINT"),
        (Signal::TERM, 1015, "SIGTERM"),
        (Signal::HUP, 1001, "SIGHUP"),
        (Signal::USR1, 138, "SIGUSR1"),
    ] {
        let env = TestEnv::new();
        let job = env.spawn(&["run", "--", "cat"]);
        env.wait_for("job_started");
        job.signal(signal);
        assert_eq!(job.wait().code, code);
        assert_eq!(env.event("job_failed")["signal"], name);
        assert_eq!(env.status("latest")["state"], "failed");
    }
}

#[test]
fn job_may_handle_signal_and_exit_later() {
    let env = TestEnv::new();
    let script = "trap 'exit 0' TERM; touch ready; while test -d .omne; do sleep 0.01; done";
    let job = env.spawn(&["run", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 0);
    assert_eq!(env.status("latest")["state"], "completed");
}

#[test]
fn signal_before_start_is_not_lost() {
    // The job ends whenever the signal arrives, and the run is closed if there is one.
    for delay in 0..12 {
        let env = TestEnv::new();
        let job = env.spawn(&["run", "--", "sleep", "1000"]);
        std::thread::sleep(std::time::Duration::from_micros(delay * 800));
        job.signal(Signal::TERM);
        let output = job.wait();
        assert!([143, 1015].contains(&output.code), "{}", output.code);
        if let [run] = env.runs().as_slice()
            && let Some(last) = env.types(run).last()
        {
            assert_eq!(last, "run_closed", "exit {}", output.code);
        }
    }
}

#[test]
fn signal_before_retry_starts_is_not_lost() {
    let env = TestEnv::new();
    if !has_strace(&env) {
        return;
    }
    let script = r#"
        test -e first && exec touch second
        touch first
        log=.omne/var/runs/it/events.jsonl
        front=$(grep -o '"front":{"pid":[0-9]*' $log | grep -o '[0-9]*$')
        setsid sh -c "until grep -q job_failed $log; do sleep 0.01; done
            kill -TERM $front" >/dev/null 2>&1 &
        exit 1
    "#;
    let run = ["run", "-q", "--run", "it", "--close", "--retries", "1"];
    let job = ["--retry-delay", "0", "--", "sh", "-c", script];
    // The start of the second attempt takes long.
    let fault = "pipe2:delay_enter=300000";
    run_with_fault(&env, &[], fault, &[&run[..], &job].concat());
    let failed = env.events_of_type("it", "job_failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(env.events_of_type("it", "job_completed").is_empty());
}

#[test]
fn job_under_nohup_ignores_hangup() {
    let env = TestEnv::new();
    let runlog = env!("CARGO_BIN_EXE_runlog");
    let mut command = env.program("nohup");
    command.args([runlog, "run", "--", "cat"]);
    let job = Background::new(command.stdin(std::process::Stdio::piped()));
    env.wait_for("job_started");
    job.signal(Signal::HUP);
    job.signal(Signal::USR1);
    // The later signal arrived, so the job has ignored the earlier one.
    assert_eq!(job.wait().code, 138);
    assert_eq!(env.event("job_failed")["signal"], "SIGUSR1");
}

/// Returns `SigBlk`, `SigIgn` and the open files of a process with and without runlog.
fn inherited(env: &TestEnv, with: &str) -> (String, String) {
    let look = "grep -E 'Sig(Blk|Ign)' /proc/self/status";
    let plain = env.sh(&format!("{with} {look}"));
    let under = env.sh(&format!(
        "{with} \"$RUNLOG\" run -q --no-capture -- true; {with} \"$RUNLOG\" run -- {look}"
    ));
    assert!(!plain.stdout.is_empty(), "{}", plain.stderr());
    (plain.stdout(), under.stdout())
}

#[test]
fn signal_mask_is_inherited() {
    let env = TestEnv::new();
    let (plain, under) = inherited(&env, "env --block-signal=USR1,TERM,CHLD");
    assert_eq!(under, plain);
}

#[test]
fn ignored_signals_are_inherited() {
    let env = TestEnv::new();
    let (plain, under) = inherited(&env, "env --ignore-signal=HUP,INT,USR2,QUIT,TTOU");
    assert_eq!(under, plain);
}

#[test]
fn default_signals_are_not_ignored_or_blocked() {
    let env = TestEnv::new();
    let (plain, under) = inherited(&env, "env --default-signal");
    assert_eq!(under, plain);
}

#[test]
fn job_inherits_no_internal_files() {
    let env = TestEnv::new();
    let look = "ls /proc/self/fd >fds";
    env.sh(look);
    let plain = std::fs::read_to_string(env.path("fds")).unwrap();
    for option in [
        "--capture-limit=1M",
        "--no-capture",
        "--quiet",
        "--sample=1h",
    ] {
        env.ok(&["run", option, "--id-file", "id", "--", "sh", "-c", look]);
        let fds = std::fs::read_to_string(env.path("fds")).unwrap();
        assert_eq!(fds, plain, "{option}");
    }
}

#[test]
fn caller_files_are_inherited() {
    let env = TestEnv::new();
    let output = env.sh(r#"echo given >file; "$RUNLOG" run -- sh -c 'cat <&7' 7<file"#);
    assert_eq!(output.stdout(), "given\n");
}

#[test]
fn stopped_job_is_continued_to_be_terminated() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--", "sh", "-c", "kill -STOP $$; cat"]);
    let pid = env.wait_for("job_started")["pid"].clone();
    let stat = format!("/proc/{pid}/stat");
    let stopped = || std::fs::read_to_string(&stat).is_ok_and(|s| s.contains(") T "));
    wait_until("the job has stopped", stopped);
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 1015);
}

#[test]
fn stopped_job_is_killed_by_timeout() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--timeout",
        "200ms",
        "--",
        "sh",
        "-c",
        "kill -STOP $$",
    ]);
    assert_eq!(output.code, 124);
}

#[test]
fn job_has_own_process_group() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--", "cat"]);
    let pid = env.wait_for("job_started")["pid"].as_i64().unwrap();
    let group = rustix::process::getpgid(Some(pid_of(pid))).unwrap();
    // This ends the job but not runlog, which is in other groups. The job does not lead its
    // group, so that it can start a session.
    assert_ne!(group, pid_of(pid));
    kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(job.wait().code, 137);
    assert_eq!(env.types(&env.only_run()).last().unwrap(), "run_closed");
}

#[test]
fn stop_and_continue_are_forwarded() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--", "cat"]);
    let pid = env.wait_for("job_started")["pid"].clone();
    let stat = format!("/proc/{pid}/stat");
    let is = |state: &str| std::fs::read_to_string(&stat).is_ok_and(|s| s.contains(state));
    job.signal(Signal::TSTP);
    wait_until("the job has stopped", || is(") T "));
    job.signal(Signal::CONT);
    wait_until("the job goes on", || is(") S "));
    assert_eq!(job.end().code, 0);
}

#[test]
fn forwarded_signals_and_their_sender_are_recorded() {
    let env = TestEnv::new();
    let script = "trap 'exit 9' TERM; touch ready; while test -d .omne; do sleep 0.01; done";
    let job = env.spawn(&["run", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 9);
    let failed = env.event("job_failed");
    let signal = &failed["signals"][0];
    assert_eq!(signal["signal"], "SIGTERM", "{failed}");
    assert_eq!(signal["sender"]["pid"], std::process::id());
    assert!(signal["ts"].is_string());
}

#[test]
fn kill_after_applies_to_forwarded_signals_if_given() {
    let env = TestEnv::new();
    let script = "trap '' TERM; touch ready; while test -d .omne; do sleep 0.01; done";
    let job = env.spawn(&["run", "--kill-after", "100ms", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::TERM);
    assert_eq!(job.wait().code, 137);
}

#[test]
fn other_signals_reach_only_first_process() {
    let env = TestEnv::new();
    // The child does not expect the signal, which would end it.
    let script = r"sh -c 'touch child; while test -d .omne && ! test -e stop; do sleep 0.01; done; exit 5' &
        trap 'touch stop' USR1; while ! test -e child; do sleep 0.01; done; touch ready; wait; wait $!";
    let job = env.spawn(&["run", "--", "sh", "-c", script]);
    env.wait_for_file("ready");
    job.signal(Signal::USR1);
    assert_eq!(job.wait().code, 5);
}

#[test]
fn real_time_signals_are_forwarded() {
    let (script, env) = (
        r#""$RUNLOG" run -q -- bash -c 'trap "exit 7" RTMIN+3; touch ready; while test -d .omne; do sleep 0.01; done' &
           until test -e ready; do sleep 0.01; done; kill -RTMIN+3 $!; wait $!; echo $?"#,
        TestEnv::new(),
    );
    let output = finish(env.program("bash").args(["-c", script]));
    assert_eq!(output.stdout(), "7\n", "{}", output.stderr());
}

#[test]
fn job_can_start_session() {
    let env = TestEnv::new();
    let output = env.run(&[
        "run",
        "--",
        "setsid",
        "sh",
        "-c",
        "sleep 0.1; echo out; exit 5",
    ]);
    assert_eq!((output.code, output.stdout().as_str()), (5, "out\n"));
}

#[test]
fn ignored_pipe_signal_is_inherited() {
    let env = TestEnv::new();
    let (plain, under) = inherited(&env, "env --ignore-signal=PIPE,XFSZ");
    assert_eq!(under, plain);
}

#[test]
fn survived_interrupt_does_not_cancel_retries() {
    let env = TestEnv::new();
    let script = "echo x >>attempts; trap 'touch got' INT; touch ready
        until test -e got; do sleep 0.01; done; sleep 0.4; exit 1";
    let options = ["run", "--retries", "1", "--retry-delay", "0"];
    let job = env.spawn(&[&options[..], &["--", "sh", "-c", script]].concat());
    env.wait_for_file("ready");
    job.signal(Signal::INT);
    assert_eq!(job.wait().code, 1);
    assert_eq!(
        std::fs::read_to_string(env.path("attempts")).unwrap(),
        "x\nx\n"
    );
}

#[test]
fn hardware_fault_signals_are_forwarded() {
    // Signals that another process sends are treated like any others.
    for signal in [
        Signal::ILL,
        Signal::SEGV,
        Signal::FPE,
        Signal::PIPE,
        Signal::XFSZ,
    ] {
        let env = TestEnv::new();
        let script = format!(
            "trap 'exit 9' {}; touch ready; while :; do sleep 0.01; done",
            signal.as_raw()
        );
        let job = env.spawn(&["run", "-q", "--", "bash", "-c", &script]);
        env.wait_for_file("ready");
        job.signal(signal);
        assert_eq!(job.wait().code, 9, "{signal:?}");
    }
}
