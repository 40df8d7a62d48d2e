//! Runs with several jobs, from several processes, and detached jobs.

use crate::support::env::{Background, TestEnv, wait_until};

#[test]
fn named_run_stays_open_for_more_jobs() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--", "true"]);
    assert_eq!(env.status("ci")["state"], "open");
    env.ok(&["run", "--run", "ci", "--", "echo"]);
    let status = env.status("ci");
    assert_eq!(status["jobs"][0]["job_id"], "true");
    assert_eq!(status["jobs"][1]["job_id"], "echo");
    assert_eq!(env.events_of_type("ci", "run_opened").len(), 1);
    assert_eq!(env.events_of_type("ci", "run_closed").len(), 0);
}

#[test]
fn generated_job_id_is_unused() {
    let env = TestEnv::new();
    for _ in 0..3 {
        env.ok(&["run", "--run", "ci", "--", "true"]);
    }
    let status = env.status("ci");
    let ids: Vec<_> = (0..3)
        .map(|i| status["jobs"][i]["job_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["true", "true-2", "true-3"]);
}

#[test]
fn taken_job_id_is_rejected_with_2() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--job", "a", "--", "true"]);
    let before = env.events("ci").len();
    let output = env.run(&["run", "--run", "ci", "--job", "a", "--", "touch", "ran"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 2
    -- stderr
    error: run `ci` already has a job `a`
    hint: use another --job, or omit it to have an ID generated
    ");
    assert_eq!(env.events("ci").len(), before);
    assert!(!env.exists("ran"));
}

#[test]
fn concurrent_joins_get_distinct_jobs() {
    let env = TestEnv::new();
    let jobs: Vec<Background> = (0..6)
        .map(|_| env.spawn(&["run", "--run", "ci", "--", "cat"]))
        .collect();
    wait_until("six jobs", || {
        env.events_of_type("ci", "job_started").len() == 6
    });
    assert_eq!(env.status("ci")["state"], "running");
    for job in jobs {
        assert_eq!(job.end().code, 0);
    }
    let status = env.status("ci");
    let mut ids: Vec<_> = status["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|j| j["job_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["cat", "cat-2", "cat-3", "cat-4", "cat-5", "cat-6"]);
    assert_eq!(env.events_of_type("ci", "run_opened").len(), 1);
    assert_eq!(status["state"], "open");
}

#[test]
fn job_outputs_are_kept_apart() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--job", "a", "--", "echo", "one"]);
    env.ok(&["run", "--run", "ci", "--job", "b", "--", "echo", "two"]);
    assert_eq!(env.captured("ci", "a"), b"one\n");
    assert_eq!(env.captured("ci", "b"), b"two\n");
}

#[test]
fn close_prints_run_status() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--", "true"]);
    env.run(&["run", "--run", "ci", "--", "false"]);
    env.ok(&["run", "--run", "ci", "--close"]);
    let closed = env.event("run_closed");
    assert_eq!(closed["summary"]["jobs_failed"], 1);
    assert_eq!(env.status("ci")["state"], "failed");
}

#[test]
fn close_with_live_job_exits_4() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "ci", "--", "cat"]);
    env.wait_for("job_started");
    let output = env.run(&["run", "--run", "ci", "--close"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 4
    -- stderr
    error: run `ci` has jobs that have not ended: cat
    hint: check the jobs with `runlog status ci`; end lost ones with `runlog replay --recover ci`
    ");
    assert_eq!(job.end().code, 0);
    env.ok(&["run", "--run", "ci", "--close"]);
}

#[test]
fn close_with_lost_job_exits_4() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "ci", "--", "cat"]);
    env.wait_for("job_started");
    job.kill();
    assert_eq!(env.run(&["run", "--run", "ci", "--close"]).code, 4);
}

#[test]
fn close_after_command_closes_run() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--", "true"]);
    env.ok(&["run", "--run", "ci", "--close", "--", "true"]);
    assert_eq!(env.status("ci")["state"], "completed");
}

#[test]
fn close_after_command_warns_if_other_job_is_live() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "ci", "--job", "slow", "--", "cat"]);
    env.wait_for("job_started");
    let output = env.run(&["run", "--run", "ci", "--close", "--", "sh", "-c", "exit 3"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 3
    -- stderr
    run_id=ci
    warning: the run stays open, because these jobs have not ended: slow
    ");
    assert_eq!(env.status("ci")["state"], "running");
    assert_eq!(job.end().code, 0);
    assert_eq!(env.status("ci")["state"], "open");
}

#[test]
fn closed_run_rejects_jobs() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--close", "--", "true"]);
    let before = env.events("ci").len();
    let output = env.run(&["run", "--run", "ci", "--", "touch", "ran"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 125
    -- stderr
    error: run `ci` is closed
    hint: start another run; a closed run accepts no more jobs or notes
    ");
    assert_eq!(env.events("ci").len(), before);
    assert!(!env.exists("ran"));
}

#[test]
fn self_closed_run_rejects_jobs() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    let run = env.only_run();
    assert_eq!(env.run(&["run", "--run", &run, "--", "true"]).code, 125);
    assert_eq!(env.types(&run).last().unwrap(), "run_closed");
}

#[test]
fn closing_twice_succeeds() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--close", "--", "true"]);
    env.ok(&["run", "--run", "ci", "--close"]);
    assert_eq!(env.events_of_type("ci", "run_closed").len(), 1);
}

#[test]
fn closing_missing_run_exits_3() {
    let env = TestEnv::new();
    env.ok(&["run", "--", "true"]);
    assert_eq!(env.run(&["run", "--run", "nope", "--close"]).code, 3);
    assert_eq!(env.runs().len(), 1);
}

#[test]
fn detached_start_is_durable_before_id_is_printed() {
    let env = TestEnv::new();
    let output = env.ok(&[
        "run",
        "--detach",
        "--",
        "sh",
        "-c",
        "while test -d .omne && ! test -e stop; do sleep 0.01; done; echo out; exit 3",
    ]);
    let run = env.only_run();
    assert_eq!(
        (output.stdout(), output.stderr()),
        (format!("{run}\n"), String::new())
    );
    assert_eq!(env.types(&run).last().unwrap(), "job_started");
    assert_eq!(env.status(&run)["state"], "running");
    env.write("stop", "");
    assert_eq!(env.run(&["status", "--wait", &run]).code, 1);
    assert_eq!(env.captured(&run, "sh"), b"out\n");
    assert_eq!(env.event("job_failed")["exit_code"], 3);
}

#[test]
fn detached_job_has_own_session_and_no_stdin() {
    let env = TestEnv::new();
    env.ok(&[
        "run",
        "--detach",
        "--",
        "sh",
        "-c",
        "cut -d' ' -f6 /proc/self/stat; readlink /proc/self/fd/0",
    ]);
    assert_eq!(env.run(&["status", "--wait", "latest"]).code, 0);
    let said = String::from_utf8(env.captured(&env.only_run(), "sh")).unwrap();
    let (session, stdin) = said.split_once('\n').unwrap();
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    assert_ne!(own.split(' ').nth(5), Some(session));
    assert_eq!(stdin, "/dev/null\n");
}

#[test]
fn detached_job_releases_callers_pipes() {
    let env = TestEnv::new();
    // The substitution ends when no process has its pipe open.
    let script = r#"id=$("$RUNLOG" run --detach -- sh -c 'while test -d .omne && ! test -e stop; do sleep 0.01; done' 2>&1); touch stop; echo "$id""#;
    assert_eq!(env.sh(script).stdout().trim_end(), env.only_run());
}

#[test]
fn detached_start_failure_is_reported_to_caller() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--detach", "--", "no-such-cmd"]);
    insta::assert_snapshot!(crate::support::checks::snapshot(&env, &output), @"
    exit 127
    -- stderr
    error: command not found: `no-such-cmd`
    hint: check the spelling of the command and PATH
    ");
    assert_eq!(env.status("latest")["state"], "failed");
}

#[test]
fn detach_with_taken_job_id_exits_2() {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "ci", "--job", "a", "--", "true"]);
    let output = env.run(&["run", "--run", "ci", "--job", "a", "--detach", "--", "true"]);
    assert_eq!((output.code, output.stdout()), (2, String::new()));
    assert!(
        output.stderr().starts_with("error: "),
        "{}",
        output.stderr()
    );
}

#[test]
fn detach_writes_id_file() {
    let env = TestEnv::new();
    let output = env.ok(&["run", "--detach", "--id-file", "id", "--", "true"]);
    assert_eq!(std::fs::read(env.path("id")).unwrap(), output.stdout);
    env.run(&["status", "--wait", "latest"]);
}

#[test]
fn default_job_id_counts_earlier_jobs() {
    let env = TestEnv::new();
    for _ in 0..3 {
        env.ok(&["run", "-q", "--run", "it", "--", "true"]);
    }
    env.ok(&["run", "-q", "--run", "it", "--job", "other", "--", "true"]);
    env.ok(&["run", "-q", "--run", "it", "--", "true"]);
    let entries = std::fs::read_dir(env.path(".omne/var/runs/it/jobs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut jobs: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".out").map(str::to_owned))
        .collect();
    jobs.sort();
    assert_eq!(jobs, ["other", "true", "true-2", "true-3", "true-5"]);
    env.ok(&["replay", "it", "--verify"]);
}

#[test]
fn job_id_with_removed_output_is_not_reused() {
    let env = TestEnv::new();
    let run = ["run", "-q", "--run", "it", "--job", "a", "--", "true"];
    env.ok(&run);
    std::fs::remove_file(env.path(".omne/var/runs/it/jobs/a.out")).unwrap();
    let output = env.run(&run);
    assert_eq!(output.code, 2, "{}", output.stderr());
    assert!(output.stderr().contains("already has a job `a`"));
}

#[test]
fn job_id_of_crashed_start_is_free() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--job", "a", "--", "true"]);
    std::fs::write(env.path(".omne/var/runs/it/jobs/b.out"), "").unwrap();
    env.ok(&["run", "-q", "--run", "it", "--job", "b", "--", "true"]);
    env.ok(&["replay", "it", "--verify"]);
}

#[test]
fn job_id_that_damage_hides_is_not_reused() {
    let env = TestEnv::new();
    let run = ["run", "-q", "--run", "it", "--job", "a", "--", "true"];
    env.ok(&run);
    env.ok(&["run", "-q", "--run", "it", "--job", "b", "--", "true"]);
    let log = std::fs::read_to_string(env.log_path("it")).unwrap();
    let damaged = log.replace(r#""job_id":"a""#, r#""job_id":"x""#);
    assert_ne!(damaged, log);
    std::fs::write(env.log_path("it"), damaged).unwrap();
    let output = env.run(&run);
    assert_eq!(output.code, 2, "{}", output.stderr());
    assert!(output.stderr().contains("already has a job `a`"));
}
