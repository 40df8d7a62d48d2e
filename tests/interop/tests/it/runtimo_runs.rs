//! Runs whose log runtimo-core 0.1.4 wrote: the fixture is what its `WalWriter` made of
//! two jobs that ended and one that did not.

use crate::world::{World, stages};

const RUN: &str = "imported";
const WAL: &[u8] = include_bytes!("../../fixtures/runtimo-core-0.1.4.jsonl");

#[test]
fn a_log_of_runtimo_is_read_as_it_stands() {
    let world = World::new();
    world.put(RUN, WAL);
    let status = world.status(RUN);
    assert_eq!(
        status["state"], "unknown",
        "it has no word for the end of a run"
    );
    assert_eq!(status["events"], 5);
    assert_eq!(status["opened_ts"], "2024-05-15T19:06:40.000000Z");
    assert_eq!(
        stages(&status),
        [
            ("4f1c9e0b7a2d", "completed"),
            ("9a07d3e65b18", "failed"),
            ("c2b8417f60ea", "started"),
        ]
    );
    assert_eq!(status["jobs"][0]["command"], "FileRead");
    assert_eq!(status["jobs"][0]["duration_ms"], 2000);
    assert_eq!(
        status["jobs"][1]["error"]["message"],
        "Execution failed: command timed out"
    );
    assert!(world.tail_all(RUN) == WAL);
    let last = world.runlog_fine(&["tail", RUN, "-n", "1", "--json"]);
    assert!(WAL.ends_with(&last));
    let of_one = world.runlog_fine(&["tail", RUN, "--json", "--job", "9a07d3e65b18"]);
    assert_eq!(of_one.iter().filter(|&&b| b == b'\n').count(), 2);
    let people = String::from_utf8(world.runlog_fine(&["tail", RUN])).unwrap();
    assert_eq!(people.lines().count(), 5, "{people}");
}

#[test]
fn a_note_to_it_needs_force_and_is_numbered_from_0() {
    let world = World::new();
    world.put(RUN, WAL);
    let refused = world.runlog(&["emit", "--run", RUN, "seen"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(world.log(RUN) == WAL);
    let note = world.runlog_fine(&["emit", "--run", RUN, "--force", "--ack", "seen"]);
    assert!(note.starts_with(b"{\"v\":1,\"seq\":0,"));
    assert!(world.log(RUN) == [WAL, &note].concat());
    assert_eq!(world.status(RUN)["events"], 6);
}
