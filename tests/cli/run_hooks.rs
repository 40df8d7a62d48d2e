//! `run --on-success`, `--on-failure` and `--on-end`.

use std::fs;
use std::fs::File;

use insta::assert_snapshot;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::checks::snapshot;
use crate::support::env::{TestEnv, pid_of, wait_until};
use crate::support::process::{finish, supervisors, wait_until_dead};

fn hook_events(env: &TestEnv, run: &str) -> Vec<Value> {
    env.events_of_type(run, "hook_ended")
}

#[test]
fn output_of_hook_waits_for_its_reader() {
    let env = TestEnv::new();
    let hook = "yes | head -n 50000";
    let script = format!("$RUNLOG run --on-end '{hook}' true 2>&1 | (sleep 1; grep -cx y)");
    assert_eq!(env.sh(&script).stdout(), "50000\n");
}

#[test]
fn outcome_decides_which_hooks_run() {
    let options = ["--on-success", "echo success >>hooks"];
    let options = [&options[..], &["--on-failure", "echo failure >>hooks"]].concat();
    let options = [&options[..], &["--on-end", "echo end >>hooks"]].concat();
    for (job, code, hooks) in [
        (&["true"][..], 0, "success\nend\n"),
        (&["sh", "-c", "exit 3"], 3, "failure\nend\n"),
        (&["no-such-command"], 127, "failure\nend\n"),
    ] {
        let env = TestEnv::new();
        let output = env.run(&[&["run", "-q"], &options[..], &["--"], job].concat());
        assert_eq!(output.code, code);
        assert_eq!(fs::read_to_string(env.path("hooks")).unwrap(), hooks);
        let run = env.only_run();
        let events = hook_events(&env, &run);
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["hook"], "on_end");
        assert_eq!(events[1]["command"], "echo end >>hooks");
        assert_eq!(events[1]["exit_code"], 0);
        // The state of the run is in its last line.
        let types = env.types(&run);
        assert_eq!(types.last().unwrap(), "hook_ended");
        assert_eq!(events[1]["summary"]["jobs_total"], 1);
        let state = if code == 0 { "completed" } else { "failed" };
        assert_eq!(env.status(&run)["state"], state);
        env.ok(&["replay", "--verify", &run]);
    }
}

#[test]
fn hook_gets_status_and_environment() {
    let env = TestEnv::new();
    let hook =
        "cat >status; echo $RUNLOG_RUN_ID $RUNLOG_JOB_ID $RUNLOG_STATE $RUNLOG_EXIT_CODE >env";
    let job = ["run", "-q", "--run", "it", "--close", "--on-end", hook];
    env.run(&[&job[..], &["--", "sh", "-c", "kill -TERM $$"]].concat());
    assert_eq!(
        fs::read_to_string(env.path("env")).unwrap(),
        "it sh failed 143\n"
    );
    let got: Value = serde_json::from_slice(&fs::read(env.path("status")).unwrap()).unwrap();
    let mut now = env.status("it");
    // The hook itself ran later.
    for counted in ["events", "bytes"] {
        now[counted] = got[counted].clone();
    }
    assert_eq!(got, now);
}

#[test]
fn lost_output_counts_as_failure_for_hooks() {
    let env = TestEnv::new();
    let hooks = ["--on-success", "echo success >>hooks"];
    let hooks = [
        &hooks[..],
        &["--on-failure", "echo $RUNLOG_EXIT_CODE >>hooks"],
    ]
    .concat();
    let run = [&["run"], &hooks[..], &["--", "echo", "backup"]].concat();
    let output = finish(env.command(&run).stdout(File::create("/dev/full").unwrap()));
    assert_eq!(output.code, 74);
    assert_eq!(fs::read_to_string(env.path("hooks")).unwrap(), "74\n");
}

#[test]
fn failed_hook_is_recorded_and_keeps_exit_code() {
    let env = TestEnv::new();
    let hook = "echo out; echo err >&2; exit 9";
    let output = env.run(&["run", "--on-end", hook, "--", "echo", "job"]);
    assert_eq!((output.code, &*output.stdout()), (0, "job\n"));
    let stderr = output.stderr();
    assert!(stderr.contains("out\nerr\n"), "{stderr}");
    assert!(
        stderr.contains("warning: the hook on_end failed: it exited with code 9"),
        "{stderr}"
    );
    let event = env.event("hook_ended");
    assert_eq!(event["exit_code"], 9);
    assert_eq!(event["error"]["kind"], "exit");
    let shown = env.ok(&["replay", "latest"]).stdout();
    let line = "hook ended      echo  on_end  it exited with code 9";
    assert!(shown.contains(line), "{shown}");
    // The output of the hook is not part of the job's output.
    assert_eq!(env.captured(&env.only_run(), "echo"), b"job\n");
}

#[test]
fn quiet_hook_prints_nothing() {
    let env = TestEnv::new();
    let output = env.run(&["run", "-q", "--on-end", "echo out; echo err >&2", "true"]);
    assert_eq!(
        (output.stdout(), output.stderr()),
        (String::new(), String::new())
    );
}

#[test]
fn hook_of_run_that_is_quiet_on_success_prints_after_failure() {
    let env = TestEnv::new();
    let hooks = ["--on-success", "echo fine", "--on-failure", "echo bad"];
    let quiet = ["run", "--quiet-on-success", "--on-end", "echo end >&2"];
    let run = |job: &str| env.run(&[&quiet[..], &hooks, &["--", job]].concat());
    let output = run("true");
    assert_eq!((output.stdout(), output.stderr()), Default::default());
    let stderr = run("false").stderr();
    assert!(stderr.starts_with("bad\nend\nrun_id=false-"), "{stderr}");
}

#[test]
fn closed_stderr_does_not_end_hook() {
    let env = TestEnv::new();
    let script = "$RUNLOG run --on-end 'seq 100000; touch done' true 2>&1 | head -n 1";
    env.sh(script);
    wait_until("the end of the hook", || env.exists("done"));
}

#[test]
fn process_left_behind_by_hook_can_still_print() {
    let env = TestEnv::new();
    let left_behind = "(until test -e go; do sleep 0.01; done; echo late; touch alive)";
    let hook = format!("{left_behind} & echo started");
    let output = env.ok(&["run", "--on-end", &hook, "true"]);
    assert!(output.stderr().ends_with("\nstarted\n"));
    env.write("go", "");
    env.wait_for_file("alive");
}

#[test]
fn interrupted_hook_is_ended() {
    let env = TestEnv::new();
    let hook = "touch hooked; sleep 1000";
    let job = env.spawn(&["run", "-q", "--on-end", hook, "true"]);
    env.wait_for_file("hooked");
    job.signal(Signal::INT);
    assert_eq!(job.end().code, 0);
    assert_eq!(env.event("hook_ended")["signal"], "SIGTERM");
}

#[test]
fn signal_before_hook_does_not_end_it() {
    let env = TestEnv::new();
    let script = "until test -e go; do sleep 0.01; done; exit 3";
    let hook = ["--on-failure", "touch hooked"];
    let job = env.spawn(
        &[
            &["run", "-q", "--run", "it"][..],
            &hook,
            &["sh", "-c", script],
        ]
        .concat(),
    );
    let started = env.wait_for("job_started");
    let log = File::open(env.run_dir("it").join("events.jsonl")).unwrap();
    log.lock().unwrap();
    env.write("go", "");
    let pid = started["pid"].as_u64().unwrap();
    wait_until_dead(u32::try_from(pid).unwrap());
    job.signal(Signal::TERM);
    wait_until("the front to handle the signal", || {
        let status = fs::read_to_string(format!("/proc/{}/status", job.pid())).unwrap();
        status.contains("ShdPnd:\t0000000000000000") && status.contains("State:\tS")
    });
    drop(log);
    assert_eq!(job.end().code, 3);
    assert_eq!(env.event("hook_ended")["exit_code"], 0);
    assert!(env.exists("hooked"));
}

#[test]
fn hook_does_not_notice_killed_supervisor() {
    let env = TestEnv::new();
    let hook = "echo x >>hooked; until test -e go; do sleep 0.01; done; echo printed; exit 3";
    let job = env.spawn(&["run", "--on-end", hook, "true"]);
    env.wait_for_file("hooked");
    let killed = supervisors(job.pid());
    for pid in &killed {
        kill_process(pid_of(i64::from(*pid)), Signal::KILL).unwrap();
    }
    // What a process reads while it dies is lost.
    let is_there = |pid: &u32| fs::exists(format!("/proc/{pid}")).unwrap();
    wait_until("its death", || !killed.iter().any(is_there));
    env.write("go", "");
    let ended = job.end();
    assert_eq!(ended.code, 0);
    assert!(ended.stderr().contains("\nprinted\n"), "{}", ended.stderr());
    assert_eq!(fs::read_to_string(env.path("hooked")).unwrap(), "x\n");
    assert_eq!(env.event("hook_ended")["exit_code"], 3);
    env.ok(&["replay", "--verify", &env.only_run()]);
}

#[test]
fn hook_of_shared_run_sees_it_open() {
    let env = TestEnv::new();
    let hook = "echo $RUNLOG_STATE $RUNLOG_EXIT_CODE >env";
    env.run(&["run", "-q", "--run", "it", "--on-failure", hook, "false"]);
    assert_eq!(fs::read_to_string(env.path("env")).unwrap(), "open 1\n");
    assert!(hook_events(&env, "it")[0].get("summary").is_none());
    env.ok(&["run", "--run", "it", "--close", "true"]);
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn detached_job_runs_its_hooks() {
    let env = TestEnv::new();
    env.ok(&["run", "--detach", "--on-success", "touch hooked", "true"]);
    env.wait_for_file("hooked");
    env.wait_for("hook_ended");
}

#[test]
fn hooks_in_settings_are_defaults() {
    let env = TestEnv::new();
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    let settings = "[hooks]\non_end = \"echo volume >>hooks\"\n";
    env.write(".omne/lib/cfg/runlog.toml", settings);
    env.ok(&["run", "-q", "true"]);
    env.ok(&["run", "-q", "--on-end", "echo flag >>hooks", "true"]);
    assert_eq!(
        fs::read_to_string(env.path("hooks")).unwrap(),
        "volume\nflag\n"
    );
    env.write(".omne/lib/cfg/runlog.toml", "[hooks]\non_ends = \"x\"\n");
    let output = env.run(&["run", "-q", "true"]);
    assert_eq!(output.code, 2);
    assert!(
        output.stderr().contains("runlog.toml:2"),
        "{}",
        output.stderr()
    );
    env.write(".omne/lib/cfg/runlog.toml", "[hooks]\non_end = true\n");
    assert_snapshot!(snapshot(&env, &env.run(&["run", "true"])), @"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: hooks.on_end: it needs a value
    hint: use the names of hooks as keys in [hooks], and commands as values
    ");
}

#[test]
fn job_ended_with_its_front_has_failed() {
    let env = TestEnv::new();
    let script = "trap 'exit 0' TERM; touch up; while test -d .; do sleep 0.01; done";
    let hooks = [
        "--on-success",
        "touch wrong",
        "--on-failure",
        "echo $RUNLOG_EXIT_CODE >hooked",
    ];
    let run = [&["run", "-q", "--run", "it", "--close"], &hooks[..]].concat();
    let job = env.spawn(&[&run[..], &["--", "sh", "-c", script]].concat());
    env.wait_for_file("up");
    kill_process(pid_of(i64::from(job.pid())), Signal::KILL).unwrap();
    env.wait_for("hook_ended");
    job.wait();
    assert_eq!(env.status("it")["jobs"][0]["error"]["kind"], "canceled");
    assert_eq!(fs::read_to_string(env.path("hooked")).unwrap(), "137\n");
    assert!(!env.exists("wrong"));
}
