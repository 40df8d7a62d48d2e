//! Writers of omne that die in the middle of a line.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::world::{self, Line, World};

const RUN: &str = "release-01kp8a0000000000000000000a";

/// omne writes a line and its `\n` separately, and may die in between.
#[test]
fn line_missing_only_newline_is_completed() {
    let world = World::new();
    world.omne(RUN, &[world::pipe_started(RUN)]);
    let line = serde_json::to_vec(&world::node_started(RUN, "build")).unwrap();
    world.put(RUN, &line);
    let before = world.log(RUN);
    let note = world.runlog_ok(&["emit", "--run", RUN, "--force", "--ack", "seen"]);
    assert!(world.log(RUN) == [&before[..], b"\n", &note].concat());
    assert_eq!(world.status(RUN)["events"], 3);
    assert_eq!(world.names(RUN), ["events.jsonl", "lock"]);
}

/// Without the repair, the next omne would append its event to the fragment, and then read
/// nothing.
#[test]
fn torn_line_is_quarantined_alone() {
    let world = World::new();
    let line = serde_json::to_vec(&world::node_started(RUN, "build")).unwrap();
    for cut in [1, 10, line.len() / 2, line.len() - 1] {
        let run = format!("torn-{cut}");
        world.omne(&run, &[world::pipe_started(&run)]);
        let whole = world.log(&run);
        world.put(&run, &line[..cut]);

        let note = world.runlog_ok(&["emit", "--run", &run, "--force", "--ack", "seen"]);
        world.omne(&run, &[world::pipe_completed(&run)]);

        let log = world.log(&run);
        assert!(log.starts_with(&whole));
        let [
            Line::Omne(_),
            Line::Ours(repaired),
            Line::Ours(seen),
            Line::Omne(_),
        ] = &world::lines(&log)[..]
        else {
            panic!("{}", String::from_utf8_lossy(&log));
        };
        assert_eq!(repaired["type"], "log_repaired");
        assert_eq!((&repaired["seq"], &seen["seq"]), (&0.into(), &1.into()));
        assert_eq!(*seen, serde_json::from_slice::<Value>(&note).unwrap());
        assert_eq!(world.status(&run)["state"], "completed");
        let quarantine = world.events_path(&run).with_file_name("quarantine");
        let kept: Vec<_> = std::fs::read_dir(quarantine).unwrap().collect();
        assert_eq!(kept.len(), 1);
        let kept = std::fs::read(kept[0].as_ref().unwrap().path()).unwrap();
        assert!(kept == line[..cut], "the fragment is kept");
    }
}

#[test]
fn killed_omne_writers_lose_no_event_of_runlog() {
    let world = World::new();
    let run = "killed";
    world.runlog_ok(&["emit", "--open", "--run", run, "begin"]);
    let mut acknowledged = Vec::new();
    for round in 0..15 {
        let name = format!("round{round}");
        let mut writer = world::omne_writer(world.root(), &[run, &name, "2", "1000000", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(writer.stdout.take().unwrap());
        let reader = thread::spawn(move || stdout.lines().map(Result::unwrap).collect::<Vec<_>>());
        world.runlog_ok(&["emit", "--run", run, "beside"]);
        thread::sleep(Duration::from_millis(10 + 7 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());
        world.runlog_ok(&["emit", "--run", run, "after"]);
    }
    let log = world.log(run);
    let mut ids: Vec<String> = Vec::new();
    let mut seq = 0;
    for line in world::lines(&log) {
        match line {
            Line::Omne(event) => ids.push(world::omne_id(&event).to_owned()),
            Line::Ours(event) => {
                assert_eq!(event["seq"], seq);
                seq += 1;
            }
        }
    }
    assert!(seq >= 31, "{seq}");
    ids.sort();
    assert!(
        ids.windows(2).all(|pair| pair[0] != pair[1]),
        "no event is there twice"
    );
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    for id in &acknowledged {
        assert!(ids.binary_search(id).is_ok(), "{id} was acknowledged");
    }
    assert_eq!(world.status(run)["state"], "open");
    eprintln!(
        "{} events of omne acknowledged, {} kept",
        acknowledged.len(),
        ids.len()
    );
}
