//! Random histories of writers and accidents, compared with a simple model: acknowledged events
//! that were not destroyed can be read, in order, and no number is used twice.

use proptest::prelude::*;

use crate::log::test_log::{TestLog, line_ends};
use crate::log::*;

#[derive(Debug, Clone)]
enum Op {
    /// A batch of notes by writer 0, 1 or 2, and their number.
    Append(usize, usize),
    /// The file is cut at this part of its length. Either all writers end, or all of them
    /// notice. (A writer that sleeps while others make the file just as long as before would not
    /// notice.)
    Cut(prop::sample::Index, bool),
    Garbage(Vec<u8>),
    /// The first line to copy to the end, and the number of lines.
    Copy(prop::sample::Index, usize),
    /// A new writer starts.
    Reopen(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let garbage = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        Just(vec![0; 5000]),
        Just(b"{\"v\":1,\"seq\":3,".to_vec()),
        Just(b"\n".to_vec()),
    ];
    prop_oneof![
        4 => (0..3usize, 1..4usize).prop_map(|(w, n)| Op::Append(w, n)),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(at, restarts)| Op::Cut(at, restarts)),
        1 => garbage.prop_map(Op::Garbage),
        1 => (any::<prop::sample::Index>(), 1..4usize).prop_map(|(at, n)| Op::Copy(at, n)),
        1 => (0..3usize).prop_map(Op::Reopen),
    ]
}

/// The acknowledged lines that remain in the log, with their ends.
#[derive(Default)]
struct Model {
    lines: Vec<(usize, String)>,
}

impl Model {
    fn append(&mut self, it: &TestLog, appended: &Appended) {
        let bytes = it.bytes();
        // The lines that were reported as written are the last ones.
        assert!(bytes.ends_with(&appended.bytes));
        let start = bytes.len() - appended.bytes.len();
        let mut from = 0;
        for end in line_ends(&appended.bytes) {
            let line = String::from_utf8(appended.bytes[from..end - 1].to_vec()).unwrap();
            self.lines.push((start + end, line));
            from = end;
        }
    }

    fn cut(&mut self, len: usize) {
        // A line without its `\n` is whole again after the next append. Until then it is in
        // flight.
        self.lines.retain(|(end, _)| *end <= len + 1);
    }
}

fn play(ops: Vec<Op>) {
    let it = TestLog::new();
    let mut writers = [it.log(), it.log(), it.log()];
    let mut model = Model::default();
    let mut n = 0;
    it.set(b"");
    for op in ops {
        let mut bytes = it.bytes();
        match op {
            Op::Append(w, count) => {
                let batch: Vec<Draft> = (n..n + count).map(|n| it.note(n)).collect();
                n += count;
                let appended = writers[w].append(&batch, Durability::Process).unwrap();
                model.append(&it, &appended);
            }
            Op::Cut(at, restarts) => {
                let len = at.index(bytes.len() + 1);
                it.set(&bytes[..len]);
                model.cut(len);
                for writer in &mut writers {
                    if restarts {
                        *writer = it.log();
                    } else {
                        writer.refresh();
                    }
                }
            }
            Op::Garbage(garbage) => {
                // Garbage after a line without its `\n` destroys that line.
                if garbage[0] != b'\n' {
                    model.lines.retain(|(end, _)| *end <= bytes.len());
                }
                bytes.extend(garbage);
                it.set(&bytes);
            }
            Op::Copy(at, count) => {
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let Some(last) = lines.last() else { continue };
                if !last.ends_with(b"\n") {
                    continue;
                }
                let from = at.index(lines.len());
                let copied: Vec<u8> = lines[from..]
                    .iter()
                    .take(count)
                    .copied()
                    .flatten()
                    .copied()
                    .collect();
                bytes.extend(copied);
                it.set(&bytes);
            }
            Op::Reopen(w) => writers[w] = it.log(),
        }
    }
    // One more append makes the end whole.
    let last = it.log().append(&[it.note(n)], Durability::Process).unwrap();
    model.append(&it, &last);

    let found = it.read();
    found.assert_rising();
    let expected: Vec<&String> = model.lines.iter().map(|(_, line)| line).collect();
    let read: Vec<&String> = found.lines.iter().collect();
    assert_eq!(read, expected, "damage: {:?}", found.damage);
    assert!(it.bytes().ends_with(b"\n"));
    // All writers agree on the next event.
    for log in &writers {
        it.add(log, 0);
    }
    it.read().assert_rising();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn acked_and_undamaged_events_are_read_back(ops in prop::collection::vec(op(), 1..24)) {
        play(ops);
    }
}
