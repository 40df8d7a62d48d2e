//! `runlog status --stats`, and unusual durations.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::checks::{assert_one_error, snapshot};
use crate::support::env::TestEnv;

/// Creates runs of two names: `ok` completed three times, `bad` failed twice and completed once.
fn volume() -> TestEnv {
    let env = TestEnv::new();
    for script in ["exit 0", "exit 0", "exit 0"] {
        env.run(&["run", "-q", "-n", "ok", "--", "sh", "-c", script]);
    }
    let script = "test -e tried && exit 0; touch tried; exit 1";
    let retry = ["--retries", "1", "--retry-delay", "1ms"];
    let run = ["run", "-q", "-n", "bad"];
    env.run(&[&run[..], &["--", "sh", "-c", "exit 3"]].concat());
    env.run(&[&run[..], &retry, &["--", "sh", "-c", script]].concat());
    env.run(&[&run[..], &["--", "sh", "-c", "exit 3"]].concat());
    env
}

fn stats(env: &TestEnv, args: &[&str]) -> Vec<Value> {
    env.json_lines(&[&["status", "--stats", "--json"], args].concat())
}

#[test]
fn stats_have_a_row_for_each_name() {
    let env = volume();
    let lines = stats(&env, &[]);
    let [bad, ok] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!((&bad["name"], &ok["name"]), (&json!("bad"), &json!("ok")));
    assert_eq!((&bad["runs"], &bad["failed"]), (&json!(3), &json!(2)));
    assert_eq!(bad["failed_percent"], json!(66.67));
    assert_eq!(bad["last_states"], json!(["failed", "completed", "failed"]));
    assert_eq!(
        (&bad["attempts_mean"], &bad["attempts_max"]),
        (&json!(2.0), &json!(2))
    );
    assert_eq!(bad["last_durations_ms"], json!([bad["duration_p50_ms"]]));
    assert_eq!(
        (&ok["failed"], &ok["attempts_mean"]),
        (&json!(0), &json!(1.0))
    );
    let status = env.json_lines(&["status", "--json", "--name", "ok"]);
    let durations: Vec<_> = status
        .iter()
        .map(|run| run["duration_ms"].clone())
        .collect();
    assert_eq!(ok["last_durations_ms"], json!(durations));
    let longest = durations.iter().map(|ms| ms.as_u64().unwrap()).max();
    assert_eq!(ok["duration_max_ms"].as_u64(), longest);
    assert!(ok["max_rss_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn stats_are_printed_as_table() {
    let env = volume();
    env.spawn(&["run", "--detach", "-n", "live", "--", "sleep", "1000"])
        .wait();
    let output = env.run(&["status", "--stats"]);
    let text = snapshot(&env, &output);
    let durations = regex::Regex::new("[▁▂▃▄▅▆▇█]+").unwrap();
    assert_snapshot!(durations.replace_all(&text, "[DURATIONS]"), @"
    exit 0
    -- stdout
    NAME  RUNS  FAILED  P50  P95  MAX  PEAK RSS  ATTEMPTS  LAST RUNS  DURATIONS
    bad  3  2 (67%)  [DURATION]  [DURATION]  [DURATION]  [SIZE]  2.00  ✗✓✗  [DURATIONS]
    ok  3  0  [DURATION]  [DURATION]  [DURATION]  [SIZE]  1.00  ✓✓✓  [DURATIONS]
    ");
    let mut ascii = env.command(&["status", "--stats"]);
    let ascii = crate::support::env::finish(ascii.env("LC_ALL", "C")).stdout();
    assert!(ascii.is_ascii() && ascii.contains("x+x"), "{ascii}");
    env.ok(&["stop", "live", "--kill-after", "0s"]);
}

#[test]
fn stats_count_runs_that_gc_removed() {
    let env = volume();
    env.ok(&["gc", "--max-runs", "1", "--keep-failed", "0s"]);
    assert!(env.runs().len() < 6);
    let lines = stats(&env, &[]);
    let runs: Vec<_> = lines
        .iter()
        .map(|line| line["runs"].as_u64().unwrap())
        .collect();
    assert_eq!(runs, [3, 3]);
    let retired: u64 = lines
        .iter()
        .map(|line| line["retired"].as_u64().unwrap())
        .sum();
    assert_eq!(retired, 6 - env.runs().len() as u64);
    let none = env.run(&["status", "--retired", "--name", "none"]);
    assert_eq!(
        (none.code, none.stderr()),
        (0, "no runs match\n".to_owned())
    );
    let only_removed = stats(&env, &["--retired"]);
    let removed: u64 = only_removed
        .iter()
        .map(|line| line["runs"].as_u64().unwrap())
        .sum();
    assert_eq!(removed, retired);
}

#[test]
fn stats_are_filtered() {
    let env = volume();
    assert_eq!(stats(&env, &["--name", "o*"]).len(), 1);
    assert_eq!(stats(&env, &["--since", "2100-01-01"]).len(), 0);
    let output = env.ok(&["status", "--stats", "--name", "none"]);
    assert_eq!(output.stdout(), "");
    assert!(
        output.stderr().contains("no finished runs"),
        "{}",
        output.stderr()
    );
    for args in [
        &["ok"][..],
        &["-n", "3"],
        &["--state", "failed"],
        &["--watch"],
    ] {
        let output = env.run(&[&["status", "--stats"], args].concat());
        assert_eq!(output.code, 2, "{args:?}");
        assert_one_error(&output);
    }
}

/// Changes the log of a closed run so that the run took no time.
fn end_at_once(env: &TestEnv, run: &str) {
    let path = env.log_path(run);
    let log = fs::read_to_string(&path).unwrap();
    let at = log.trim_end().rfind('\n').unwrap() + 1;
    let (before, last) = log.split_at(at);
    let summary: Value = serde_json::from_str(last).unwrap();
    let ts = |key: &str| summary["summary"][key].as_str().unwrap().to_owned();
    let opened = format!("\"opened_ts\":\"{}\"", ts("opened_ts"));
    let changed = last.replace(&opened, &format!("\"opened_ts\":\"{}\"", ts("closed_ts")));
    let changed = changed.split_at(changed.find(",\"crc\":").unwrap()).0;
    let crc = crc32c::crc32c(changed.as_bytes());
    fs::write(
        &path,
        format!("{before}{changed},\"crc\":\"{crc:08x}\"}}\n"),
    )
    .unwrap();
}

#[test]
fn unusually_long_run_is_reported() {
    let env = TestEnv::new();
    let run = |flags: &[&str], script| {
        let args = [&["run", "-n", "job"], flags, &["--", "sh", "-c", script]].concat();
        env.run(&args).stderr()
    };
    for _ in 0..3 {
        assert!(!run(&[], "exit 0").contains("usual"));
    }
    env.runs().iter().for_each(|run| end_at_once(&env, run));
    assert!(!run(&["-q"], "sleep 3").contains("usual"));
    let before = env.json_lines(&["status", "--json", "job"]);
    let usual = &before[0]["usual"];
    assert_eq!(
        (&usual["runs"], &usual["verdict"]),
        (&json!(3), &json!("longer"))
    );
    let text = env.ok(&["status", "job"]).stdout();
    assert!(text.contains("far longer than usual"), "{text}");
    env.ok(&["replay", "job", "--export", "html", "-o", "page.html"]);
    let page = fs::read_to_string(env.path("page.html")).unwrap();
    assert!(page.contains(r#""verdict":"longer""#));
    let said = run(&[], "sleep 3; exit 1");
    assert!(said.contains("runlog: it took "), "{said}");
    assert!(said.contains("the median of 4 runs"), "{said}");
    assert_eq!(
        env.status("job~4").get("usual"),
        None,
        "too few runs before it"
    );
}

#[test]
fn attempt_outside_its_bounds_fails() {
    let env = TestEnv::new();
    let output = env.run(&["run", "--fail-if-shorter", "1h", "true"]);
    assert_eq!(output.code, 1);
    let stderr = output.stderr();
    assert!(
        stderr.contains("error: the command exited with 0, but took "),
        "{stderr}"
    );
    assert!(
        stderr.contains("less than 3600 s (--fail-if-shorter)\nhint: "),
        "{stderr}"
    );
    let failed = env.event("job_failed");
    assert_eq!(
        (&failed["error"]["kind"], &failed["exit_code"]),
        (&json!("validation"), &json!(0))
    );
    assert_eq!(env.status("true")["state"], "failed");
    let code = |flags: &[&str], script| {
        let args = [&["run", "-q"], flags, &["--", "sh", "-c", script]].concat();
        env.run(&args).code
    };
    assert_eq!(code(&["--fail-if-longer", "1ms"], "sleep 0.1"), 1);
    assert_eq!(code(&["--fail-if-longer", "0"], "exit 0"), 0);
    assert_eq!(
        code(
            &["--fail-if-longer", "1h", "--fail-if-shorter", "0"],
            "exit 0"
        ),
        0
    );
    assert_eq!(
        code(&["--fail-if-shorter", "1h"], "exit 7"),
        7,
        "its own failure counts"
    );
    let output = env.run(&[
        "run",
        "--fail-if-shorter",
        "2h",
        "--fail-if-longer",
        "1h",
        "true",
    ]);
    assert_eq!(output.code, 2);
    assert_one_error(&output);
}

#[test]
fn attempt_outside_its_bounds_is_retried_and_undone() {
    let env = TestEnv::new();
    let settings = env.path(".omne/lib/cfg");
    fs::create_dir_all(&settings).unwrap();
    fs::write(
        settings.join("runlog.toml"),
        "[run]\nfail_if_shorter = \"1h\"\n",
    )
    .unwrap();
    let retry = ["--retries", "1", "--retry-delay", "1ms"];
    let rollback = ["--rollback", "touch undone"];
    let output = env.run(&[&["run"], &retry[..], &rollback, &["true"]].concat());
    assert_eq!(output.code, 1);
    assert!(env.exists("undone"));
    let run = env.only_run();
    let failed = env.events_of_type(&run, "job_failed");
    let attempts: Vec<_> = failed
        .iter()
        .map(|event| event["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(env.types(&run).last().unwrap(), "run_closed");
}

#[test]
fn statistics_of_one_run_lead_to_name() {
    let env = TestEnv::new();
    let output = env.run(&["status", "--stats", "it"]);
    assert_eq!(output.code, 2);
    let hint = "hint: select the runs by name: `runlog status --stats --name NAME`";
    assert!(output.stderr().contains(hint), "{}", output.stderr());
}
