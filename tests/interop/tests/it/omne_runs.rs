//! Runs that only omne wrote.

use omne_cli::event_log;

use crate::world::{self, Line, World, stages};

const RUN: &str = "release-01kp8a0000000000000000000a";

#[test]
fn a_pipe_that_completed() {
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
    assert_eq!(status["opened_ts"], "2026-04-15T12:00:00Z");
    assert_eq!(status["closed_ts"], "2026-04-15T12:00:07Z");
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
fn a_pipe_that_was_aborted() {
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
fn a_pipe_whose_writer_cannot_be_seen() {
    let world = World::new();
    world.omne(
        RUN,
        &[world::pipe_started(RUN), world::node_started(RUN, "build")],
    );
    let status = world.status(RUN);
    assert_eq!(status["state"], "unknown");
    assert_eq!(stages(&status), [("build", "started")]);
    // Neither waits for an end that nobody may write.
    let waited = world.runlog(&["status", RUN, "--wait"]);
    assert_eq!(waited.status.code(), Some(1), "{waited:?}");
    let followed = world.runlog(&["tail", RUN, "-f", "-n", "all", "--json"]);
    assert_eq!(followed.status.code(), Some(0), "{followed:?}");
    assert!(followed.stdout == world.log(RUN));
    let stderr = String::from_utf8(followed.stderr).unwrap();
    assert!(stderr.contains("unknown"), "{stderr}");
}

#[test]
fn what_omne_wrote_is_listed_shown_and_filtered() {
    let world = World::new();
    world.omne(
        RUN,
        &[world::pipe_started(RUN), world::node_started(RUN, "build")],
    );
    world.omne(
        "other-01kp8b0000000000000000000b",
        &[world::pipe_started("other-01kp8b0000000000000000000b")],
    );
    let listed = String::from_utf8(world.runlog_fine(&["status", "--json"])).unwrap();
    assert_eq!(listed.lines().count(), 2);
    let people = String::from_utf8(world.runlog_fine(&["status"])).unwrap();
    assert!(people.contains(RUN), "{people}");

    let by_type = world.runlog_fine(&["tail", RUN, "--json", "--type", "node.started"]);
    let by_job = world.runlog_fine(&["tail", RUN, "--json", "--job", "build"]);
    assert_eq!(by_type, by_job);
    assert!(world.log(RUN).ends_with(&by_type));
    let people = String::from_utf8(world.runlog_fine(&["tail", RUN])).unwrap();
    assert_eq!(people.lines().count(), 2, "{people}");
}

#[test]
fn a_note_needs_force() {
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

    let line = world.runlog_fine(&[
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

    // What --force is about: omne's own reader now refuses the run; its writer does not.
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
