//! `status --export`: many runs at once.

use std::fs;

use crate::replay::with_timeline;
use crate::support::env::TestEnv;

#[test]
fn prometheus_covers_all_runs() {
    let env = with_timeline();
    env.ok(&["run", "-q", "--name", "a\"b\\c", "--job", "j", "--", "true"]);
    env.ok(&["run", "-q", "--name", "a\"b\\c", "--job", "j", "--", "true"]);
    env.ok(&["status", "--export", "prometheus", "-o", "runlog.prom"]);
    let text = fs::read_to_string(env.path("runlog.prom")).unwrap();
    for line in [
        "runlog_runs{name=\"a\\\"b\\\\c\",state=\"completed\"} 2",
        "runlog_runs{name=\"it\",state=\"failed\"} 1",
        "runlog_run_last_state{name=\"it\",state=\"failed\"} 1",
        "runlog_run_last_failed_jobs{name=\"it\"} 1",
        "runlog_job_last_exit_code{name=\"it\",job_id=\"deploy\"} 3",
        "runlog_job_last_attempts{name=\"it\",job_id=\"deploy\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("last_success_timestamp_seconds{name=\"it\"}"));
    let one = env.ok(&["replay", "it", "--export", "prometheus"]).stdout();
    assert!(one.contains("runlog_runs{name=\"it\",state=\"failed\"} 1"));
    assert!(!one.contains("a\\\"b"));
}

#[test]
fn prometheus_remembers_removed_runs() {
    let env = TestEnv::new();
    env.run(&["run", "-q", "--name", "backup", "--", "false"]);
    env.ok(&["run", "-q", "--name", "backup", "--", "true"]);
    env.ok(&["run", "-q", "--name", "gone", "--", "true"]);
    let metrics = || env.ok(&["status", "--export", "prometheus"]).stdout();
    let before = metrics();
    env.ok(&["gc", "--max-age", "0", "--keep-failed", "1d"]);
    let after = metrics();
    let newest = |text: &str| {
        let is_newest = |line: &&str| line.contains("_last_") && !line.starts_with('#');
        let lines: Vec<_> = text.lines().filter(is_newest).map(str::to_owned).collect();
        lines
    };
    assert!(before.contains("last_success_timestamp_seconds{name=\"backup\"}"));
    assert_eq!(newest(&after), newest(&before));
    assert!(after.contains("runlog_runs{name=\"backup\",state=\"completed\"} 0"));
    assert!(!after.contains("runlog_runs{name=\"gone\""), "{after}");
}

#[test]
fn gc_removed_runs_are_listed_up_to_limit() {
    let env = TestEnv::new();
    for name in ["one", "two"] {
        env.ok(&["run", "-q", "--name", name, "--", "true"]);
    }
    env.ok(&["gc", "--max-age", "0"]);
    let args = ["status", "--retired", "-n", "1", "--export", "csv"];
    let rows = env.ok(&args).stdout();
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[1].starts_with("two-"), "{rows:?}");
}

#[test]
fn page_of_runs_links_to_pages_of_each() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "-q", "--close", "--close", "--run", "good", "--name", "a", "--", "echo", "fine",
    ]);
    env.run(&[
        "run",
        "-q",
        "--close",
        "--run",
        "bad",
        "--name",
        "</script>",
        "--",
        "false",
    ]);
    let args = ["status", "--export", "html", "-o", "index.html"];
    env.ok(&[&args[..], &["--with-runs", "pages"]].concat());
    let page = fs::read_to_string(env.path("index.html")).unwrap();
    assert!(page.contains("\"links\":\"pages/\""), "{page}");
    assert!(page.contains("[\"good\","), "{page}");
    assert!(!page.contains("[\"</script>"), "{page}");
    let good = fs::read_to_string(env.path("pages/good.html")).unwrap();
    assert!(good.contains("fine"));
    assert!(env.exists("pages/bad.html"));
    let page = env
        .ok(&["status", "--export", "html", "--state", "failed"])
        .stdout();
    assert!(
        page.contains("[\"bad\",") && !page.contains("[\"good\","),
        "{page}"
    );
    assert!(page.contains("\"links\":null"), "{page}");
    let output = env.run(&["status", "--export", "csv", "--with-runs", "pages"]);
    assert_eq!(output.code, 2);
}

#[test]
fn page_that_cannot_be_written_is_not_linked() {
    let env = TestEnv::new();
    for run in ["a", "b"] {
        env.ok(&["run", "-q", "--close", "--run", run, "--", "true"]);
    }
    fs::create_dir_all(env.path("pages/a.html/x")).unwrap();
    let args = ["status", "--export", "html", "-o", "index.html"];
    let output = env.run(&[&args[..], &["--with-runs", "pages"]].concat());
    assert_eq!(output.code, 7);
    assert!(
        output.stderr().starts_with("warning: run a: cannot write "),
        "{}",
        output.stderr()
    );
    assert!(env.path("pages/b.html").is_file());
    let page = fs::read_to_string(env.path("index.html")).unwrap();
    assert!(page.contains("\"unlinked\":[\"a\"]"), "{page}");
}
