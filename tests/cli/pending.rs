//! Runs without events: just created, or left by a start that died.

use serde_json::Value;

use crate::gc::lines;
use crate::support::env::{Background, TestEnv};

/// Creates a volume with the run `done` and the directory of a run without events.
fn with_pending() -> (TestEnv, String) {
    let env = TestEnv::new();
    env.ok(&["run", "--run", "done", "--", "true"]);
    let run = "build-01arz3ndektsv4rrffq69g5fav".to_owned();
    std::fs::create_dir(env.run_dir(&run)).unwrap();
    (env, run)
}

#[test]
fn run_without_event_is_listed_as_pending() {
    let (env, run) = with_pending();
    for args in [
        &["status", "--json"][..],
        &["status", "--json", "--state", "pending"],
        &["status", "--json", &run],
    ] {
        // The id has the age: the run is older than the other one.
        let line = &lines(&env.ok(args))[0];
        assert_eq!(line["run_id"], *run, "{args:?}");
        assert_eq!(line["state"], "pending");
        let because = line["because"].as_str().unwrap();
        assert!(because.starts_with("it has no event yet, and was last changed at 2"));
        assert_eq!(
            (&line["events"], &line["opened_ts"]),
            (&0.into(), &().into())
        );
    }
    assert_eq!(
        lines(&env.ok(&["status", "--json", "--state", "failed"])).len(),
        0
    );
    assert!(env.ok(&["status"]).stdout().contains("pending"));
    // The run is neither the newest one nor the newest one with its name.
    assert_eq!(
        lines(&env.ok(&["status", "--json", "latest"]))[0]["run_id"],
        "done"
    );
    assert_eq!(env.run(&["status", "build"]).code, 3);
    assert_eq!(env.run(&["stop", &run]).code, 1);
    // The first write was torn.
    std::fs::write(env.log_path(&run), "{\"v\":1,\"seq\":0,").unwrap();
    assert_eq!(env.status(&run)["state"], "pending");
    for format in ["prometheus", "csv", "html"] {
        env.ok(&["status", "--export", format]);
    }
}

#[test]
fn waiting_for_pending_run_continues_until_its_end() {
    let (env, run) = with_pending();
    let args = ["status", "--wait", &run, "--timeout", "20ms"];
    assert_eq!(env.run(&args).code, 4);
    let mut watch = env.spawn(&["status", "--watch", "--json", &run]);
    let first: Value = serde_json::from_slice(&watch.read_line()).unwrap();
    assert_eq!(first["state"], "pending");
    let wait = env.spawn(&["status", "--wait", "--json", &run]);
    let events = env.spawn(&["tail", "-f", "--json", &run]);
    let printed = env.spawn(&["tail", "-f", "--output", &run]);
    env.ok(&["run", "--run", &run, "--", "echo", "hello"]);
    env.ok(&["run", "--run", &run, "--close"]);
    let text = |waiting: Background| {
        let output = waiting.end();
        assert_eq!(output.code, 0, "{}", output.stderr());
        output.stdout()
    };
    assert!(text(wait).contains("\"completed\""));
    assert!(text(events).contains("\"run_closed\""));
    assert_eq!(text(printed), "hello\n");
    assert!(text(watch).contains("\"completed\""));
}
