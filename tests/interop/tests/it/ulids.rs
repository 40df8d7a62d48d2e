//! The allocator of ids that runlog shares with omne in a volume.

use std::path::PathBuf;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use omne_cli::{ulid, volume};
use runlog::log::allocate_ulid;

use crate::world::World;

/// The number of threads of each kind, and of the ids that each allocates.
const THREADS: usize = 4;
const IDS: usize = 1000;

fn last_path(world: &World) -> PathBuf {
    volume::ulid_lock_path(world.root())
}

fn from_omne(world: &World) -> String {
    ulid::allocate(&last_path(world)).unwrap().to_string()
}

fn from_runlog(world: &World) -> String {
    allocate_ulid(&world.volume()).unwrap().to_string()
}

fn last(world: &World) -> String {
    std::fs::read_to_string(last_path(world)).unwrap()
}

#[test]
fn concurrent_ids_are_distinct_and_increasing() {
    let world = World::new();
    // The highest id that any thread has.
    let highest = Mutex::new(String::new());
    let all_there = Barrier::new(2 * THREADS);
    let allocate = |from: fn(&World) -> String| -> Vec<String> {
        all_there.wait();
        let ids = (0..IDS).map(|_| {
            let before = highest.lock().unwrap().clone();
            let id = from(&world);
            assert_eq!(id.len(), 26);
            assert!(id > before, "{id} was asked for when {before} was out");
            let mut highest = highest.lock().unwrap();
            if id > *highest {
                highest.clone_from(&id);
            }
            id
        });
        ids.collect()
    };
    let started = Instant::now();
    let mut ids: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = [from_omne, from_runlog]
            .repeat(THREADS)
            .into_iter()
            .map(|from| scope.spawn(move || allocate(from)))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    ids.sort();
    assert_eq!(ids.len(), 2 * THREADS * IDS);
    assert!(
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        "all are distinct"
    );
    assert_eq!(last(&world), *ids.last().unwrap());
    eprintln!(
        "{} ids in {:.1} s",
        ids.len(),
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn each_program_continues_others_ids() {
    let world = World::new();
    // After the clock was wrong, only the file has the last id.
    std::fs::create_dir_all(volume::var_dir(world.root())).unwrap();
    std::fs::write(last_path(&world), "7ZZZZZZZZZZZZZZZZZZZZZZZ00").unwrap();
    assert_eq!(from_runlog(&world), "7ZZZZZZZZZZZZZZZZZZZZZZZ01");
    assert_eq!(from_omne(&world), "7ZZZZZZZZZZZZZZZZZZZZZZZ02");
    assert_eq!(from_runlog(&world), "7ZZZZZZZZZZZZZZZZZZZZZZZ03");
    assert_eq!(last(&world), "7ZZZZZZZZZZZZZZZZZZZZZZZ03");
}

#[test]
fn torn_id_file_is_repaired_for_omne() {
    let world = World::new();
    let before = from_omne(&world);
    thread::sleep(Duration::from_millis(2));
    let longer = format!("{before}{before}");
    for torn in [
        &b""[..],
        b"01K",
        &before.as_bytes()[..25],
        longer.as_bytes(),
        b"no id at all, and much longer than one\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xff\xfe\xfd",
        &[b'x'; 5000],
    ] {
        std::fs::write(last_path(&world), torn).unwrap();
        let healed = from_runlog(&world);
        assert!(healed > before, "{healed} after {before}");
        assert_eq!(last(&world), healed);
        assert!(from_omne(&world) > healed);
    }
}
