//! `gc` removes what its limits select, reports it, and removes nothing else.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::checks::snapshot;
use crate::support::env::{Output, TestEnv};

/// Creates finished runs in this order: `a` and `c` completed, `b` failed.
pub(crate) fn three_ended() -> TestEnv {
    let env = TestEnv::new();
    for (run, command) in [("a", "true"), ("b", "false"), ("c", "true")] {
        ended(&env, run, command);
    }
    env
}

/// Creates a finished run of one job with output.
pub(crate) fn ended(env: &TestEnv, run: &str, command: &str) {
    let script = format!("echo out; {command}");
    env.run(&["run", "-q", "--run", run, "--", "sh", "-c", &script]);
    env.ok(&["run", "--run", run, "--close"]);
}

/// Returns the JSON lines on stdout.
#[track_caller]
pub(crate) fn lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    output.stdout().lines().map(parse).collect()
}

/// Returns the runs that `status --retired` lists.
#[track_caller]
pub(crate) fn retired(env: &TestEnv) -> Vec<String> {
    let output = env.ok(&["status", "--retired", "--json"]);
    let id = |line: &Value| line["run_id"].as_str().unwrap().to_owned();
    lines(&output).iter().map(id).collect()
}

/// Sets the modification time of files.
fn touch(env: &TestEnv, path: &str, when: &str) {
    let output = env.sh(&format!("touch -d '{when}' {path}"));
    assert_eq!(output.code, 0, "{}", output.stderr());
}

#[test]
fn gc_dry_run_matches_real_run() {
    let env = three_ended();
    let args = ["gc", "--json", "--max-runs", "1", "--dry-run"];
    let mut foreseen = lines(&env.ok(&args));
    assert_eq!(env.runs(), ["a", "b", "c"]);
    assert_eq!(
        std::fs::read(env.path(".omne/var/retired.jsonl")).unwrap(),
        b""
    );
    let done = lines(&env.ok(&args[..4]));
    for line in &mut foreseen {
        assert_eq!(line["dry_run"], true);
        line["dry_run"] = false.into();
    }
    assert_eq!(foreseen, done);
    assert_eq!(env.runs(), ["c"]);
    assert_eq!(retired(&env), ["a", "b"]);
    let first = &done[0];
    let keys: Vec<_> = first.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.join(" "),
        "action bytes closed_ts dry_run file name opened_ts policy run_id state why"
    );
    assert_eq!(first["action"], "remove");
    assert_eq!(first["policy"], "max_runs");
    assert_eq!(first["state"], "completed");
    assert!(first["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn gc_text_output_lists_removed_runs() {
    let env = three_ended();
    assert_snapshot!(snapshot(&env, &env.run(&["gc", "--max-runs", "2", "--dry-run"])), @"
    exit 0
    -- stdout
    would remove run a, completed, [SIZE]: more than 2 runs
    1 run would be removed, [SIZE]
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["gc", "--max-runs", "2"])), @"
    exit 0
    -- stdout
    removed run a, completed, [SIZE]: more than 2 runs
    1 run removed, [SIZE]
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["gc", "--max-runs", "2"])), @"
    exit 0
    -- stdout
    nothing to remove
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "--retired"])), @"
    exit 0
    -- stdout
    RUN  STATE  JOBS  OPENED  DURATION  EVENTS  RETIRED
    a  ✓ completed  1  [TIME]  [DURATION]  6  [TIME]
    ");
    assert_snapshot!(snapshot(&env, &env.run(&["status", "--retired", "a"])), @"
    exit 0
    -- stdout
    run  a
    name  a
    state  ✓ completed
    because  the run is closed and no job failed
    opened  [TIME] +00:00 on [HOST]
    closed  [TIME] +00:00 (after [DURATION])
    log  6 events, [SIZE]
    retired  [TIME] +00:00: more than 2 runs, [SIZE] freed

    JOB  STAGE  EXIT  DURATION  CPU  PEAK RSS  COMMAND
    sh  ✓ completed  0  [DURATION]  [DURATION]  [SIZE]  sh -c 'echo out; true'
    ");
}

#[test]
fn gc_without_limits_removes_nothing() {
    let env = three_ended();
    assert_snapshot!(snapshot(&env, &env.run(&["gc"])), @"
    exit 2
    -- stderr
    error: no limits set; nothing to remove
    hint: give RUN, --max-age, --max-runs, --max-size, --orphans, --events-older-than or --max-retired, or set them under [gc] in .omne/lib/cfg/runlog.toml
    ");
    for args in [&["--keep-failed", "1h"][..], &["--state", "failed"]] {
        let output = env.run(&[&["gc"], args].concat());
        assert_eq!(output.code, 2, "{args:?}: {}", output.stderr());
    }
    assert_eq!(env.runs(), ["a", "b", "c"]);
}

#[test]
fn gc_uses_volume_settings_by_default() {
    let env = three_ended();
    std::fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    let set = |text: &str| env.write(".omne/lib/cfg/runlog.toml", text);
    set("[gc]\nmax_runs = 2\n");
    env.ok(&["gc", "--max-age", "1h"]);
    assert_eq!(env.runs(), ["a", "b", "c"]);
    env.ok(&["gc"]);
    assert_eq!(env.runs(), ["b", "c"]);
    // A selection is not a limit.
    set("[gc]\nmax_age = 0\nkeep_failed = \"1h\"\n");
    env.ok(&["gc", "--state", "failed"]);
    assert_eq!(env.runs(), ["b", "c"]);
    env.ok(&["gc"]);
    assert_eq!(env.runs(), ["b"]);
    set("[gc]\nmax_age = \"soon\"\n");
    assert_snapshot!(snapshot(&env, &env.run(&["gc"])), @"
    exit 2
    -- stderr
    error: [ROOT]/.omne/lib/cfg/runlog.toml:2: gc.max_age: `soon` is not a duration; write seconds or numbers with ms, s, m, h, d, w, such as 90, [DURATION] or 1h30m
    hint: fix the settings, or move the file away
    ");
    set("[gc]\nmax_rums = 1\n");
    assert_eq!(env.run(&["gc"]).code, 2);
    assert_eq!(env.runs(), ["b"]);
}

#[test]
fn gc_limits_apply_to_selected_runs() {
    let env = three_ended();
    env.ok(&["gc", "--state", "failed", "--max-runs", "1"]);
    env.ok(&["gc", "--name", "other", "--max-age", "0"]);
    assert_eq!(env.runs(), ["a", "b", "c"]);
    env.ok(&["gc", "c", "--max-age", "0"]);
    assert_eq!(env.runs(), ["a", "b"]);
    env.ok(&["gc", "--state", "failed", "--max-size", "0"]);
    assert_eq!(env.runs(), ["a"]);
    assert_eq!(env.run(&["gc", "nosuch", "--max-age", "0"]).code, 3);
}

#[test]
fn gc_keeps_total_size_below_limit() {
    let env = three_ended();
    let all = env.ok(&["gc", "--json", "--max-size", "0", "--dry-run"]);
    let sizes: Vec<_> = lines(&all)
        .iter()
        .map(|l| l["bytes"].as_u64().unwrap())
        .collect();
    let last_two = (sizes[1] + sizes[2]).to_string();
    env.ok(&["gc", "--max-size", &last_two]);
    assert_eq!(env.runs(), ["b", "c"]);
    env.ok(&["gc", "--max-size", &(sizes[2] + sizes[1] - 1).to_string()]);
    assert_eq!(env.runs(), ["c"]);
}

#[test]
fn gc_keeps_unfinished_runs() {
    let env = three_ended();
    env.ok(&["emit", "--open", "--run", "open", "begin"]);
    let job = env.spawn(&["run", "--run", "live", "--", "cat"]);
    crate::support::env::wait_until("the job runs", || {
        !env.events_of_type("live", "job_started").is_empty()
    });
    let all = ["gc", "--max-age", "0", "--max-runs", "0", "--max-size", "0"];
    env.ok(&all);
    assert_eq!(env.runs(), ["live", "open"]);
    for run in ["live", "open"] {
        let output = env.run(&["gc", run, "--max-age", "0"]);
        assert_eq!(output.code, 4, "{}", output.stderr());
    }
    assert_snapshot!(snapshot(&env, &env.run(&["gc", "open", "--max-age", "0"])), @"
    exit 4
    -- stdout
    nothing to remove
    -- stderr
    run open is kept: it has not ended
    ");
    assert_eq!(job.end().code, 0);
    // `--run` left the run open.
    env.ok(&all);
    assert_eq!(env.runs(), ["live", "open"]);
    env.ok(&["run", "--run", "live", "--close"]);
    env.ok(&all);
    assert_eq!(env.runs(), ["open"]);
}

#[test]
fn gc_removes_lost_run_after_its_process_exits() {
    let env = TestEnv::new();
    let script = "exec 0<&-; trap '' HUP; while [ ! -e end ]; do sleep 0.01; done";
    let job = env.spawn(&["run", "--run", "it", "--", "sh", "-c", script]);
    let pid = env.wait_for("job_started")["pid"].as_u64().unwrap();
    job.kill();
    crate::support::env::wait_until("lost", || env.status("it")["state"] == "lost");
    let output = env.run(&["gc", "it", "--max-age", "0"]);
    assert_eq!(output.code, 4, "{}", output.stderr());
    assert_eq!(env.runs(), ["it"]);
    env.write("end", "");
    crate::support::env::wait_until("dead", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
    env.ok(&["gc", "--max-age", "0", "--keep-failed", "1h"]);
    assert_eq!(env.runs(), ["it"]);
    // The last `sleep` of the job may outlive its shell for a moment.
    crate::support::env::wait_until("removed", || {
        env.ok(&["gc", "--max-age", "0"]);
        env.runs().is_empty()
    });
    assert_eq!(retired(&env), ["it"]);
    let line = &lines(&env.ok(&["status", "--retired", "--json"]))[0];
    assert_eq!(line["state"], "lost");
    assert_eq!(line["jobs"][0]["stage"], "started");
}

#[test]
fn gc_removes_finished_foreign_run() {
    let env = TestEnv::new();
    let line = |kind: &str| {
        format!(
            concat!(
                r#"{{"type":"{}","id":"01JZ0000000000000000000000","ts":"2025-07-01T00:00:00Z","#,
                r#""run_id":"it","pipe":"deploy"}}"#,
                "\n"
            ),
            kind
        )
    };
    let write = |run: &str, text: String| {
        std::fs::create_dir_all(env.run_dir(run)).unwrap();
        std::fs::write(env.log_path(run), text).unwrap();
    };
    write("done", line("pipe.started") + &line("pipe.completed"));
    write("going", line("pipe.started"));
    assert_eq!(env.status("going")["state"], "unknown");
    env.ok(&["gc", "--max-age", "0"]);
    assert_eq!(env.runs(), ["going"]);
    assert_eq!(retired(&env), ["done"]);
    // The files were just changed, whatever the events say.
    env.ok(&["gc", "going", "--max-age", "1h"]);
    env.ok(&["gc", "going", "--max-runs", "0"]);
    assert_eq!(env.runs(), ["going"]);
    touch(
        &env,
        ".omne/var/runs/going .omne/var/runs/going/*",
        "2 hours ago",
    );
    env.ok(&["gc", "--max-age", "1h"]);
    assert_eq!(env.runs(), ["going"]);
    env.ok(&["gc", "going", "--max-age", "1h"]);
    assert_eq!(env.runs(), Vec::<String>::new());
}

#[test]
fn gc_removes_empty_run_directories_after_an_hour() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    for run in ["young", "old"] {
        std::fs::create_dir_all(env.run_dir(run).join("jobs")).unwrap();
        std::fs::write(env.run_dir(run).join("lock"), "").unwrap();
        std::fs::write(env.log_path(run), "").unwrap();
    }
    let old = ".omne/var/runs/old";
    touch(
        &env,
        &format!("{old}/jobs {old}/lock {old}/events.jsonl {old}"),
        "61 minutes ago",
    );
    // A run without its log but with other files is not an empty directory.
    let rest = env.run_dir("rest");
    std::fs::create_dir_all(rest.join("jobs")).unwrap();
    std::fs::write(rest.join("jobs/x.out"), "printed").unwrap();
    touch(
        &env,
        ".omne/var/runs/rest/jobs/x.out .omne/var/runs/rest/jobs .omne/var/runs/rest",
        "61 minutes ago",
    );
    std::fs::create_dir(env.run_dir("torn")).unwrap();
    std::fs::write(env.log_path("torn"), "{\"v\":1,\"se").unwrap();
    let torn = ".omne/var/runs/torn/events.jsonl .omne/var/runs/torn";
    touch(&env, torn, "61 minutes ago");
    env.ok(&["gc", "--max-runs", "9", "--state", "failed"]);
    env.ok(&["gc", "--max-runs", "9", "--name", "other"]);
    assert_eq!(env.runs(), ["it", "old", "rest", "torn", "young"]);
    let named = env.run(&["gc", "young"]);
    assert_eq!(named.code, 4, "{}", named.stderr());
    env.ok(&["gc", "torn"]);
    let output = env.ok(&["gc", "--max-runs", "9", "--json"]);
    assert_eq!(env.runs(), ["it", "rest", "young"]);
    let line = &lines(&output)[0];
    assert_eq!(line["run_id"], "old");
    assert_eq!(line["policy"], "orphans");
    assert_eq!(line["state"], "pending");
    // The directory was never a run.
    assert_eq!(retired(&env), Vec::<String>::new());
}

#[test]
fn gc_tombstone_keeps_run_summary() {
    let env = three_ended();
    let before = env.status("b");
    env.ok(&["gc", "--max-age", "0"]);
    let mut after = lines(&env.ok(&["status", "--retired", "--json", "b"]));
    let mut after = after.remove(0);
    for key in ["retired_ts", "why", "freed_bytes"] {
        assert!(
            after.as_object_mut().unwrap().remove(key).is_some(),
            "{key}"
        );
    }
    assert_eq!(before, after);
    assert_snapshot!(snapshot(&env, &env.run(&["status", "--retired", "x"])), @"
    exit 3
    -- stderr
    error: no removed run `x` is recorded
    hint: list the removed runs with `runlog status --retired`
    ");
    // Another run with the same id.
    env.ok(&["emit", "--open", "--run", "b", "begin"]);
    assert_eq!(retired(&env), ["a", "b", "c"]);
    let failed = env.ok(&["status", "--retired", "--state", "failed", "--json"]);
    assert_eq!(lines(&failed).len(), 1);
}

#[test]
fn gc_keeps_unfinished_rollback_unless_named() {
    let env = TestEnv::new();
    // The front, which is the supervisor's parent, is stopped first: it would start another
    // supervisor.
    let undo = "f=$(cut -d' ' -f4 /proc/$PPID/stat); kill -STOP $f; kill -9 $PPID $f";
    let args = ["run", "--run", "it", "--rollback", undo, "--", "false"];
    assert_eq!(env.run(&args).code, 1009);
    env.ok(&["run", "--run", "it", "--close"]);
    assert_eq!(env.status("it")["state"], "failed");
    assert_eq!(env.status("it")["jobs"][0]["rollback"]["started"], true);
    assert_eq!(env.status("it")["jobs"][0]["rollback"]["ended"], false);
    env.ok(&["gc", "--max-age", "0", "--max-runs", "0"]);
    assert_eq!(env.runs(), ["it"]);
    env.ok(&["gc", "it", "--max-age", "0"]);
    assert_eq!(env.runs(), Vec::<String>::new());
}

#[test]
fn gc_removes_named_run_without_limit() {
    let env = TestEnv::new();
    for name in ["a", "b", "b"] {
        env.ok(&["run", "-q", "-n", name, "true"]);
    }
    env.ok(&["emit", "--open", "--run", "open", "x"]);
    let dry = env.ok(&["gc", "--dry-run", "b"]);
    assert!(dry.stdout().contains("it was named"), "{}", dry.stdout());
    env.ok(&["gc", "b"]);
    env.ok(&["gc", "a"]);
    assert_eq!(env.runs().len(), 2);
    assert_eq!(env.run(&["gc", "open"]).code, 4);
    assert_eq!(env.run(&["gc"]).code, 2);
    let kept = env.run(&["gc", "b", "--keep-failed", "1h"]);
    assert_eq!(kept.code, 2);
    assert!(kept.stderr().contains("omit --keep-failed"));
    let line = &env.json_lines(&["gc", "latest~1", "--json"])[0];
    assert_eq!(line["policy"], "named");
}
