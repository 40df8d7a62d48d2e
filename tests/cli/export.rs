//! `replay --export` and `status --export`: properties of every format. `export_readers.rs` runs
//! the programs that read them.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::replay::{seal, with_timeline};
use crate::support::checks::snapshot;
use crate::support::env::TestEnv;

/// The formats of `replay --export`.
pub(crate) const FORMATS: [&str; 9] = [
    "html",
    "chrome-trace",
    "junit",
    "github",
    "markdown",
    "otlp",
    "asciicast",
    "prometheus",
    "csv",
];

/// Names, arguments and output that a careless reader would interpret as markup or commands.
pub(crate) const HOSTILE: &str = concat!(
    "</script><script>document.title='owned'</script><!--<script> ]]>\n",
    "::error title=x::owned\n##[error]owned\n%0A::warning::owned\n",
    "\u{1b}[31mred\u{1b}[0m \u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}back\u{0}\u{8}\u{fffe}\n",
    "=cmd|' /C calc'!A0,\"quoted\"\r\n@SUM(1+1)\n",
);

/// Creates a failed run with hostile text in every part, and output that is not UTF-8.
pub(crate) fn hostile() -> TestEnv {
    let env = TestEnv::new();
    env.write("text", [HOSTILE.as_bytes(), b"\xff\xfe\xc3"].concat());
    let name = "<b>\"x\"|%0A::error::y,=1";
    let label = format!("k={}", HOSTILE.replace('\0', ""));
    let argument = HOSTILE.replace('\0', "");
    let args = [
        "run", "-q", "--run", "it", "--name", name, "--label", &label,
    ];
    let script = "cat text; cat text >&2; exit 3";
    let command = ["--job", "j", "--", "sh", "-c", script, &argument];
    assert_eq!(env.run(&[&args[..], &command].concat()).code, 3);
    env.ok(&[
        "emit",
        "--run",
        "it",
        "n</script>",
        &format!("text={argument}"),
    ]);
    env.ok(&["run", "--run", "it", "--close"]);
    env
}

#[track_caller]
pub(crate) fn exported(env: &TestEnv, format: &str) -> String {
    let output = env.ok(&["replay", "it", "--export", format]);
    String::from_utf8(output.stdout).unwrap()
}

/// Parses the lines of a text as JSON.
fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn export_of_damaged_run_reports_damage() {
    let env = with_timeline();
    env.damage_event_3("it");
    for format in FORMATS {
        let output = env.run(&["replay", "it", "--export", format, "-o", "out"]);
        assert_eq!(output.code, 5, "{format}");
        assert!(
            output.stderr().contains("damaged line"),
            "{}",
            output.stderr()
        );
        assert!(
            fs::metadata(env.path("out")).unwrap().len() > 100,
            "{format}"
        );
    }
}

/// Returns the timeline of one run in the human-readable formats.
#[test]
fn export_formats_match_snapshots() {
    let env = with_timeline();
    // The order of two streams is not deterministic.
    let jobs = env.run_dir("it").join("jobs");
    fs::write(jobs.join("deploy.out"), "out\nerr\nout\nerr\nundone\n").unwrap();
    fs::remove_file(jobs.join("deploy.out.idx")).unwrap();
    let of = |format: &str| snapshot(&env, &env.run(&["replay", "it", "--export", format]));
    let token = regex::Regex::new("runlog-[0-9A-Z]{26}").unwrap();
    assert_snapshot!(token.replace_all(&of("github"), "[TOKEN]"), @"
    exit 0
    -- stdout
    ::group::deploy: rolled back after [DURATION]
    ::stop-commands::[TOKEN]
    sh -c 'echo out; echo err >&2; exit 3'
    out
    err
    out
    err
    undone
    ::[TOKEN]::
    ::endgroup::
    ::error title=it job deploy failed and was rolled back::it exited with code 3 (sh -c 'echo out; echo err >&2; exit 3')
    ::error title=it failed::the run is closed and job deploy failed: it exited with code 3
    ");
    assert_snapshot!(of("markdown"), @"
    exit 0
    -- stdout
    ### ✗ it: failed

    the run is closed and job deploy failed: it exited with code 3

    Run <code>it</code>, started [TIME] &#43;00:00, on [HOST], took [DURATION]

    | Job | Stage | Result | Duration | CPU | Peak RSS | Command |
    | --- | --- | --- | ---: | ---: | ---: | --- |
    | deploy | ↩ rolled_back | it exited with code 3 (attempt 2) | [DURATION] | [DURATION] | [SIZE] | <code>sh -c &#39;echo out&#59; echo err &#62;&#38;2&#59; exit 3&#39;</code> |
    ");
}

#[test]
fn github_summary_is_appended_to_workflow_summary() {
    let env = with_timeline();
    env.write("summary", "before\n");
    let mut command = env.command(&["replay", "it", "--export", "github"]);
    command.env("GITHUB_STEP_SUMMARY", env.path("summary"));
    let output = crate::support::env::finish(&mut command);
    assert_eq!(output.code, 0, "{}", output.stderr());
    let summary = fs::read_to_string(env.path("summary")).unwrap();
    assert_eq!(summary, format!("before\n{}", exported(&env, "markdown")));
}

#[test]
fn github_export_escapes_workflow_commands() {
    let env = hostile();
    let text = exported(&env, "github");
    // GitHub's runner interprets nothing between the two tokens as a command.
    let mut stopped: Option<String> = None;
    let mut commands = Vec::new();
    for line in text.split(['\n', '\r']) {
        if let Some(token) = &stopped {
            if line == format!("::{token}::") {
                stopped = None;
            }
        } else if let Some(token) = line.strip_prefix("::stop-commands::") {
            stopped = Some(token.to_owned());
        } else if !line.is_empty() {
            assert!(line.starts_with("::"), "{line}");
            let name = line[2..].split(['%', ' ', ':']).next().unwrap();
            commands.push(name.to_owned());
        }
    }
    assert_eq!(commands, ["group", "endgroup", "error", "error"]);
    assert!(text.contains("owned"));
}

#[test]
fn html_export_escapes_job_output() {
    let env = hostile();
    let page = exported(&env, "html");
    let data = page.split_once("id=\"data\">").unwrap().1;
    let data = data.split_once("</script>").unwrap().0;
    let data: Value = serde_json::from_str(data).unwrap();
    let parts = data["output"]["j"]["parts"].as_array().unwrap();
    let printed: String = parts.iter().map(|part| part[1].as_str().unwrap()).collect();
    assert!(printed.contains(HOSTILE), "{printed:?}");
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<!--"));
    // The page loads nothing.
    assert!(page.contains("default-src 'none'"));
    for word in ["src=", "href=", "@import", "url(", "fetch(", "innerHTML"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn chrome_trace_covers_every_job() {
    let env = with_timeline();
    let trace: Value = serde_json::from_str(&exported(&env, "chrome-trace")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let spans: Vec<_> = events.iter().filter(|e| e["ph"] == "X").collect();
    let told: Vec<_> = spans
        .iter()
        .map(|e| (e["name"].as_str().unwrap(), e["cat"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("waiting", "waiting"),
            ("deploy", "failed"),
            ("back-off", "waiting"),
            ("deploy (attempt 2)", "failed"),
            ("rollback", "rollback"),
            ("it", "run"),
        ]
    );
    assert!(spans.iter().all(|e| e["dur"].as_i64().unwrap() >= 0));
    let notes: Vec<_> = events.iter().filter(|e| e["ph"] == "i").collect();
    assert_eq!((notes.len(), &notes[0]["name"]), (1, &"checked".into()));
    assert_eq!(trace["otherData"]["state"], "failed");
}

#[test]
fn asciicast_keeps_output_timing() {
    let env = TestEnv::new();
    // The first part is in the index before the pause.
    let script =
        "printf 'a\\303'; until test -s .omne/var/runs/it/jobs/sh.out.idx; do sleep 0.01; done
        sleep 0.2; printf '\\251\\nb\\n'";
    env.ok(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    let lines = json_lines(&exported(&env, "asciicast"));
    assert_eq!(lines[0]["version"], 2);
    let of = |code: &str| -> Vec<&Value> { lines[1..].iter().filter(|l| l[1] == code).collect() };
    let text: String = of("o").iter().map(|l| l[2].as_str().unwrap()).collect();
    assert_eq!(text, "aé\r\nb\r\n");
    let at = |line: &Value| line[0].as_f64().unwrap();
    let printed = of("o");
    assert!(
        at(printed[printed.len() - 1]) - at(printed[0]) >= 0.15,
        "{printed:?}"
    );
    assert!(lines[1..].is_sorted_by(|a, b| at(a) <= at(b)));
    assert_eq!(of("m").len(), 1);
}

#[test]
fn csv_has_rows_for_events_and_jobs() {
    let env = with_timeline();
    let text = exported(&env, "csv");
    let rows: Vec<&str> = text.split("\r\n").collect();
    let header = "seq,ts,type,run_id,job_id,attempt,pid,exit_code,";
    assert!(rows[0].starts_with(header), "{}", rows[0]);
    assert_eq!(rows.len(), 1 + 11 + 1);
    env.ok(&["run", "-q", "--name", "other", "--", "true"]);
    let jobs = env.ok(&["status", "--export", "csv"]).stdout();
    let rows: Vec<&str> = jobs.split("\r\n").collect();
    assert_eq!(rows.len(), 1 + 2 + 1);
    assert!(rows[1].starts_with("it,it,failed,"), "{}", rows[1]);
    let one = env.ok(&["status", "it", "--export", "csv"]).stdout();
    assert!(jobs.starts_with(&one));
}

#[test]
fn huge_number_does_not_hide_events() {
    let env = TestEnv::new();
    let data = r#"{"n":1e400,"id":12345678901234567890123}"#;
    env.ok(&["emit", "--open", "--run", "it", "large", "--data", data]);
    env.ok(&["run", "--run", "it", "--close"]);
    let rows = exported(&env, "csv");
    let cell = format!("\"{}\"", data.replace('"', "\"\""));
    assert_eq!(rows.split("\r\n").count(), 1 + 3 + 1, "{rows}");
    assert!(rows.contains(&cell), "{rows}");
    for format in ["html", "otlp", "chrome-trace"] {
        let text = exported(&env, format);
        assert!(text.contains("large") && text.contains("1e400"), "{format}");
    }
    let told = env.ok(&["tail", "it"]).stdout();
    assert!(
        told.contains("  large  {") && told.contains("1e400"),
        "{told}"
    );
}

#[test]
fn exports_of_running_and_lost_runs() {
    let env = TestEnv::new();
    let mut job = env.spawn(&["run", "--run", "it", "--job", "j", "--", "cat"]);
    env.wait_for("job_started");
    job.write(b"so far\n");
    job.read_line();
    let check = |state: &str, verdict: &str| {
        for format in FORMATS {
            exported(&env, format);
        }
        let trace: Value = serde_json::from_str(&exported(&env, "chrome-trace")).unwrap();
        assert_eq!(trace["otherData"]["state"], state);
        let junit = exported(&env, "junit");
        assert!(junit.contains(verdict), "{junit}");
        assert!(junit.contains("so far"), "{junit}");
        let page = exported(&env, "html");
        assert!(page.contains(&format!("<title>it: {state}</title>")));
        assert!(page.contains("\"open\":true"));
    };
    check("running", "<skipped message=\"it has not ended yet\"/>");
    job.kill();
    check("lost", "type=\"lost\"");
}

#[test]
fn export_of_run_without_first_events() {
    let env = TestEnv::new();
    env.ok(&[
        "run", "-q", "--run", "it", "--job", "early", "--", "echo", "early",
    ]);
    let sealed = seal(&env, "it", 0);
    env.ok(&[
        "run", "-q", "--run", "it", "--job", "late", "--", "echo", "late",
    ]);
    env.ok(&["run", "--run", "it", "--close"]);
    let whole: Vec<String> = FORMATS.map(|format| exported(&env, format)).to_vec();
    fs::remove_file(env.run_dir("it").join(sealed)).unwrap();
    for (format, whole) in FORMATS.iter().zip(whole) {
        let rest = exported(&env, format);
        for job in ["early", "late"] {
            assert!(whole.contains(job), "{format}");
            assert!(
                rest.contains(job) || *format == "csv" || *format == "asciicast",
                "{format}"
            );
        }
    }
    let trace: Value = serde_json::from_str(&exported(&env, "chrome-trace")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for job in ["early", "late"] {
        assert!(
            events.iter().any(|e| e["ph"] == "X" && e["name"] == job),
            "{job}"
        );
    }
}

#[test]
fn large_output_is_truncated_with_notice() {
    let env = TestEnv::new();
    let script = "head -c 6000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1";
    env.run(&[
        "run", "-q", "--run", "it", "--job", "j", "--", "sh", "-c", script,
    ]);
    for (format, most, note) in [
        ("html", 2_000_000, "\"left_out\":"),
        ("junit", 600_000, "[runlog: omitted"),
        ("github", 100_000, "[runlog: omitted"),
    ] {
        let text = exported(&env, format);
        assert!(text.len() < most, "{format}: {}", text.len());
        assert!(text.contains(note) && text.contains("the end"), "{format}");
        assert!(!text.contains("\"left_out\":0"), "{format}");
    }
    for format in ["otlp", "asciicast"] {
        assert!(exported(&env, format).len() > 6_000_000, "{format}");
    }
}

#[test]
fn export_of_foreign_log() {
    let env = TestEnv::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parents");
    let wal = root.join("runtimo-core-0.1.4/wal.jsonl");
    for format in FORMATS {
        let args = ["replay", "--wal", wal.to_str().unwrap(), "--export", format];
        let output = env.ok(&args);
        assert!(!output.stdout.is_empty(), "{format}");
    }
}

#[test]
fn github_annotates_rolled_back_job() {
    let env = TestEnv::new();
    let args = ["run", "-q", "--run", "it", "--name", "backup"];
    let job = ["--job", "backup", "--rollback", "true", "--", "false"];
    env.run(&[&args[..], &job].concat());
    let text = exported(&env, "github");
    let error = text.lines().find(|line| line.starts_with("::error"));
    assert_snapshot!(
        error.unwrap(),
        @"::error title=backup job backup failed and was rolled back::it exited with code 1 (false)"
    );
}

#[test]
fn junit_output_has_no_escape_sequences() {
    let env = TestEnv::new();
    let script =
        r"printf '\033[32mok\033[0m 1\n 10%%\r100%%\n'; printf '\033[1mbad\033[m\n' >&2; exit 1";
    env.run(&["run", "-q", "--run", "it", "--", "sh", "-c", script]);
    let text = exported(&env, "junit");
    let text = |element: &str| {
        let (_, rest) = text.split_once(&format!("<{element}>")).unwrap();
        rest.split_once("</").unwrap().0.to_owned()
    };
    assert_eq!(text("system-out"), "ok 1\n100%\n");
    assert_eq!(text("system-err"), "bad\n");
}

#[test]
fn junit_counts_wrong_duration_as_failure() {
    for (option, element) in [
        ("--fail-if-shorter=1h", "failure"),
        ("--require-free-mem=1P", "error"),
    ] {
        let env = TestEnv::new();
        env.run(&["run", "-q", "--run", "it", option, "--", "true"]);
        let text = exported(&env, "junit");
        assert!(text.contains(&format!("<{element} ")), "{text}");
    }
}
