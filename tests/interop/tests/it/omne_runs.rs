//! Runs that only omne wrote, and runs exported for it.

use std::process::Command;

use omne_cli::event_log;

use crate::world::{self, Line, World, stages};

const RUN: &str = "release-01kp8a0000000000000000000a";

#[test]
fn omne_pipe_that_completed() {
    let world = World::new();
    world.omne(
        RUN,
        &[
            world::pipe_started(RUN),
            world::node_started(RUN, "build"),
            world::node_completed(RUN, "build"),
            world::node_started(RUN, "test"),
            world::node_completed(RUN, "test"),
            world::pipe_completed(RUN),
        ],
    );
    let status = world.status(RUN);
    assert_eq!(status["state"], "completed");
    assert_eq!(status["name"], "release");
    assert_eq!(status["events"], 6);
    assert_eq!(status["opened_ts"], "2026-04-15T12:00:00.000000Z");
    assert_eq!(status["closed_ts"], "2026-04-15T12:00:07.000000Z");
    assert_eq!(status["duration_ms"], 7000);
    assert_eq!(
        stages(&status),
        [("build", "completed"), ("test", "completed")]
    );
    assert_eq!(status["jobs"][0]["duration_ms"], 7000);
    assert!(world.tail_all(RUN) == world.log(RUN));
    assert_eq!(
        world.names(RUN),
        ["events.jsonl"],
        "a reader leaves nothing behind"
    );
}

#[test]
fn omne_pipe_that_was_aborted() {
    let world = World::new();
    world.omne(
        RUN,
        &[
            world::pipe_started(RUN),
            world::node_started(RUN, "build"),
            world::node_failed(RUN, "build"),
            world::pipe_aborted(RUN),
        ],
    );
    let status = world.status(RUN);
    assert_eq!(status["state"], "failed");
    assert_eq!(status["jobs_failed"], 1);
    assert_eq!(stages(&status), [("build", "failed")]);
    assert_eq!(status["jobs"][0]["error"]["kind"], "timeout");
    assert_eq!(status["jobs"][0]["error"]["message"], "took too long");
    let waited = world.runlog(&["status", RUN, "--wait"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
}

#[test]
fn omne_pipe_with_unknown_writer() {
    let world = World::new();
    world.omne(
        RUN,
        &[world::pipe_started(RUN), world::node_started(RUN, "build")],
    );
    let status = world.status(RUN);
    assert_eq!(status["state"], "unknown");
    assert_eq!(stages(&status), [("build", "started")]);
    // Neither command waits for an end that no process may write.
    let waited = world.runlog(&["status", RUN, "--wait"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    let followed = world.runlog(&["tail", RUN, "-f", "-n", "all", "--json"]);
    assert_eq!(followed.status.code(), Some(0), "{followed:?}");
    assert!(followed.stdout == world.log(RUN));
    let stderr = String::from_utf8(followed.stderr).unwrap();
    assert!(stderr.contains("unknown"), "{stderr}");
}

#[test]
fn omne_runs_are_listed_shown_and_filtered() {
    let world = World::new();
    world.omne(
        RUN,
        &[world::pipe_started(RUN), world::node_started(RUN, "build")],
    );
    world.omne(
        "other-01kp8b0000000000000000000b",
        &[world::pipe_started("other-01kp8b0000000000000000000b")],
    );
    let listed = String::from_utf8(world.runlog_ok(&["status", "--json"])).unwrap();
    assert_eq!(listed.lines().count(), 2);
    let people = String::from_utf8(world.runlog_ok(&["status"])).unwrap();
    assert!(people.contains(RUN), "{people}");

    let by_type = world.runlog_ok(&["tail", RUN, "--json", "--type", "node.started"]);
    let by_job = world.runlog_ok(&["tail", RUN, "--json", "--job", "build"]);
    assert_eq!(by_type, by_job);
    assert!(world.log(RUN).ends_with(&by_type));
    let people = String::from_utf8(world.runlog_ok(&["tail", RUN])).unwrap();
    assert_eq!(people.lines().count(), 2, "{people}");
}

#[test]
fn note_to_omne_run_needs_force() {
    let world = World::new();
    world.omne(
        RUN,
        &[world::pipe_started(RUN), world::node_started(RUN, "build")],
    );
    let before = world.log(RUN);

    let refused = world.runlog(&["emit", "--run", RUN, "deployed", "to=prod"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("--force"), "{stderr}");
    assert_eq!(refused.stdout, b"");
    assert!(world.log(RUN) == before, "the log is as it was");
    assert_eq!(event_log::read_run(world.root(), RUN).unwrap().len(), 2);

    let line = world.runlog_ok(&[
        "emit", "--run", RUN, "--force", "--ack", "deployed", "to=prod",
    ]);
    let log = world.log(RUN);
    assert!(log == [&before[..], &line].concat());
    let Some(Line::Ours(event)) = world::lines(&log).pop() else {
        panic!("the last line is ours");
    };
    assert_eq!(event["seq"], 0, "omne's lines take no number");
    assert_eq!(event["run_id"], RUN);
    assert_eq!(event["data"]["to"], "prod");
    assert!(world.tail_all(RUN) == log);
    assert_eq!(
        world.status(RUN)["state"],
        "unknown",
        "a note changes no state"
    );

    // With `--force`, omne's own reader rejects the run afterward, but its writer does not.
    assert!(event_log::read_run(world.root(), RUN).is_err());
    world.omne(
        RUN,
        &[
            world::node_completed(RUN, "build"),
            world::pipe_completed(RUN),
        ],
    );
    assert_eq!(world.status(RUN)["state"], "completed");
}

/// Returns the output of the program `omne`.
#[track_caller]
fn omne(world: &World, args: &[&str]) -> String {
    let mut command = Command::new(world::omne_bin());
    let output = command.current_dir(world.root()).args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn omne_status_reads_exported_run() {
    let world = World::new();
    let job = |run: &str, job: &str, command: &[&str]| {
        let args = [&["run", "-q", "--run", run, "--job", job, "--"], command].concat();
        world.runlog(&args).status.code()
    };
    for run in ["fine", "broken", "going"] {
        assert_eq!(job(run, "first", &["true"]), Some(0));
    }
    assert_eq!(job("broken", "second", &["sh", "-c", "exit 3"]), Some(3));
    assert_eq!(job("broken", "third", &["no-such-program"]), Some(127));
    world.runlog_ok(&["rotate", "broken"]);
    world.runlog_ok(&["emit", "--run", "fine", "seen"]);
    world.runlog_ok(&["run", "--run", "fine", "--close"]);
    assert_eq!(
        world
            .runlog(&["run", "--run", "broken", "--close"])
            .status
            .code(),
        Some(0)
    );

    let other = World::new();
    for run in ["fine", "broken", "going"] {
        other.put(run, b"");
        let to = other.events_path(run);
        world.runlog_ok(&["replay", run, "--as", "omne", "-o", to.to_str().unwrap()]);
    }
    let listed = omne(&other, &["status"]);
    for begin in [
        "broken  broken aborted (1/3)  2",
        "fine  fine completed (1/1)  2",
        "going  going running (1/1)  2",
    ] {
        assert!(listed.lines().any(|l| l.starts_with(begin)), "{listed}");
    }
    let told = omne(&other, &["status", "broken"]);
    let told: Vec<_> = told.lines().filter(|l| !l.starts_with("last: ")).collect();
    assert_eq!(
        told,
        [
            "run:    broken",
            "pipe:   broken",
            "status: aborted: job second failed: it exited with code 3 (and 1 more)",
            "",
            "nodes:",
            "  ✓ first [bash]",
            "  ✗ second [bash] crash: it exited with code 3",
            "  ✗ third host_missing: command not found: `no-such-program`",
        ]
    );
    // The exported run is read as a run of omne.
    for (run, state) in [
        ("fine", "completed"),
        ("broken", "failed"),
        ("going", "unknown"),
    ] {
        assert_eq!(other.status(run)["state"], state, "{run}");
    }
    // omne's own writer can continue the run.
    other.omne("going", &[world::pipe_completed("going")]);
    assert_eq!(other.status("going")["state"], "completed");
}

#[test]
fn mixed_log_is_exported_for_omne() {
    let world = World::new();
    world.runlog_ok(&["run", "-q", "--run", RUN, "--job", "ours", "--", "true"]);
    world.omne(
        RUN,
        &[
            world::node_started(RUN, "theirs"),
            world::node_completed(RUN, "theirs"),
        ],
    );
    world.runlog_ok(&["run", "--run", RUN, "--close"]);
    let other = World::new();
    let log = world.runlog_ok(&["replay", RUN, "--as", "omne"]);
    other.put(RUN, &log);
    let events = event_log::read_run(other.root(), RUN).unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.event_type()).collect();
    assert_eq!(
        kinds,
        [
            "pipe.started",
            "node.started",
            "node.completed",
            "node.started",
            "node.completed",
            "pipe.completed"
        ]
    );
    let wanted = " completed (2/2)";
    assert!(omne(&other, &["status"]).contains(wanted));
}

#[test]
fn gc_and_replay_of_omne_run() {
    let world = World::new();
    let going = "going-01kp8b0000000000000000000b";
    world.omne(
        RUN,
        &[
            world::pipe_started(RUN),
            world::node_started(RUN, "build"),
            world::node_failed(RUN, "build"),
            world::pipe_aborted(RUN),
        ],
    );
    world.omne(going, &[world::pipe_started(going)]);
    let log = world.log(RUN);
    assert!(world.runlog_ok(&["replay", RUN, "--json"]) == log);
    assert!(world.runlog_ok(&["replay", RUN, "--as", "omne"]) == log);
    let story = String::from_utf8(world.runlog_ok(&["replay", RUN])).unwrap();
    assert!(story.contains("failed after 7.00s"), "{story}");
    let refused = world.runlog(&["rotate", RUN, "--json"]);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(told.contains("program"), "{refused:?}");
    assert!(world.log(RUN) == log);
    world.runlog_ok(&["gc", "--max-runs", "0"]);
    assert!(!world.events_path(RUN).exists());
    assert!(
        world.events_path(going).exists(),
        "its writer cannot be seen"
    );
    let retired = String::from_utf8(world.runlog_ok(&["status", "--retired", "--json"])).unwrap();
    assert!(retired.contains(RUN), "{retired}");
}
