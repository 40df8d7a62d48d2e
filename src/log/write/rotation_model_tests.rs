//! Random histories of writers, rotations and interrupting crashes, compared with a simple
//! model: everything that was ever read remains, in order, except for the oldest lines that were
//! dropped, and the state of the run does not depend on removed segments.

use std::fs;

use proptest::prelude::*;

use crate::log::format::job_counts::JobCounts;
use crate::log::format::payload::RunOpened;
use crate::log::test_log::{TestLog, gz};
use crate::log::*;
use crate::volume::{Dir, layout};

const WRITERS: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    /// A note.
    Note(usize),
    /// A job is submitted, or ends.
    Job(usize, bool),
    /// The active segment is sealed.
    Rotate(usize),
    Compress,
    /// All sealed segments except this number are dropped.
    Drop(usize, usize),
    /// A rotation is interrupted between its two renames.
    CutOff,
    /// A compression is interrupted before it removes the plain segment.
    CutOffCompression(prop::sample::Index),
    /// A writer dies in the middle of a line.
    Torn,
    /// A file that never got its final name.
    Unfinished,
    Reopen(usize),
    /// The run is removed and started again.
    Remove,
}

fn op() -> impl Strategy<Value = Op> {
    let writer = 0..WRITERS;
    prop_oneof![
        6 => writer.clone().prop_map(Op::Note),
        2 => (writer.clone(), any::<bool>()).prop_map(|(w, ends)| Op::Job(w, ends)),
        4 => writer.clone().prop_map(Op::Rotate),
        2 => Just(Op::Compress),
        2 => (writer.clone(), 0..4usize).prop_map(|(w, keep)| Op::Drop(w, keep)),
        2 => Just(Op::CutOff),
        1 => any::<prop::sample::Index>().prop_map(Op::CutOffCompression),
        1 => Just(Op::Torn),
        1 => Just(Op::Unfinished),
        2 => writer.prop_map(Op::Reopen),
        1 => Just(Op::Remove),
    ]
}

struct Play {
    it: TestLog,
    writers: Vec<RunLog>,
    dir: Dir,
    /// Everything that was ever read, oldest first.
    ever: Vec<String>,
    /// The maximum number of these that were dropped.
    dropped: usize,
    acknowledged: usize,
    /// The number of jobs that have ended.
    jobs: usize,
    job_open: bool,
}

impl Play {
    fn new() -> Self {
        let mut play = Self::from_log(TestLog::with_notes(0));
        play.check();
        play
    }

    fn from_log(it: TestLog) -> Self {
        let dir = it.log().dir().try_clone().unwrap();
        Self {
            writers: (0..WRITERS).map(|_| it.log()).collect(),
            it,
            dir,
            ever: Vec::new(),
            dropped: 0,
            acknowledged: 0,
            jobs: 0,
            job_open: false,
        }
    }

    fn append(&mut self, writer: usize, draft: Draft) {
        let appended = self.writers[writer].append(&[draft], Durability::Process);
        appended.unwrap();
        self.acknowledged += 1;
    }

    fn sealed(&self) -> Vec<String> {
        let mut names = self.dir.names().unwrap();
        names.retain(|name| layout::parse_sealed(name).is_some_and(|(_, gz)| !gz));
        names.sort();
        names
    }

    fn play(&mut self, op: &Op) {
        match op {
            Op::Note(w) => self.append(*w, self.it.note(self.acknowledged)),
            Op::Job(w, ends) => {
                let job = format!("j{}", self.jobs);
                let draft = match (ends, self.job_open) {
                    (true, true) => self.it.ended(&job, Some("no")),
                    (false, false) => self.it.submitted(&job),
                    _ => return,
                };
                self.jobs += usize::from(*ends);
                self.job_open = !ends;
                self.append(*w, draft);
            }
            Op::Rotate(w) => {
                let budget = EventType::LogRotated.lock_budget();
                drop(
                    self.writers[*w]
                        .rotate(RotationThreshold::default(), budget)
                        .unwrap(),
                );
            }
            Op::Compress => drop(compress_sealed(&self.dir).unwrap()),
            Op::Drop(w, keep) => {
                let would = plan_prune(&self.dir, PruneLimit::AllBut(*keep)).unwrap();
                let gone = self.writers[*w].prune(PruneLimit::AllBut(*keep)).unwrap();
                assert_eq!(gone, would);
                self.dropped = self.ever.len();
            }
            Op::CutOff => {
                if let Some(first_seq) = self.whole_from() {
                    let name = layout::sealed(first_seq);
                    fs::rename(self.it.active(), self.it.path(&name)).unwrap();
                }
            }
            Op::CutOffCompression(at) => {
                let sealed = self.sealed();
                if !sealed.is_empty() {
                    let name = at.get(&sealed);
                    let compressed = self.it.path(&layout::compressed(name));
                    fs::write(compressed, gz(&fs::read(self.it.path(name)).unwrap())).unwrap();
                }
            }
            Op::Torn => {
                if self.it.active().exists() {
                    let torn = [self.it.bytes().as_slice(), b"{\"v\":1,\"seq\":"].concat();
                    self.it.set(&torn);
                }
            }
            Op::Unfinished => fs::write(self.it.path("events.jsonl.x.tmp"), "{").unwrap(),
            Op::Reopen(w) => self.writers[*w] = self.it.log(),
            Op::Remove => {
                let run = self.it.path("");
                fs::remove_dir_all(&run).unwrap();
                for writer in &self.writers {
                    let refused = writer.append(&[self.it.note(0)], Durability::Process);
                    assert!(
                        matches!(
                            refused,
                            Err(AppendError::NotWritten(StorageError::RunRemoved { .. }))
                        ),
                        "{refused:?}"
                    );
                }
                *self = Self::reopened(std::mem::replace(&mut self.it, TestLog::new()));
            }
        }
        self.check();
    }

    fn reopened(it: TestLog) -> Self {
        let opened = RunOpened::default();
        let opened = Draft::new(&it.run, None, &opened).unwrap();
        it.log().append(&[opened], Durability::Process).unwrap();
        Self::from_log(it)
    }

    /// Returns the number of the first event in the active segment, if that exists and does not
    /// end in a torn line, which would prevent its sealing.
    fn whole_from(&self) -> Option<u64> {
        let bytes = fs::read(self.it.active()).ok()?;
        let line = bytes.split(|b| *b == b'\n').next()?;
        let env = Envelope::parse(line).ok()?;
        bytes.ends_with(b"\n").then_some(env.seq)
    }

    fn check(&mut self) {
        let found = self.it.read();
        assert_eq!(found.damage, []);
        found.assert_rising();
        // The current log continues at the end of everything written, or before.
        let from = (0..=self.dropped)
            .find(|from| found.lines.starts_with(&self.ever[*from..]))
            .unwrap_or_else(|| panic!("{:#?}\nis not behind\n{:#?}", found.lines, self.ever));
        self.ever.truncate(from);
        self.dropped = from;
        self.ever.extend(found.lines);

        let mut state = RunState::default();
        let mut acknowledged = 0;
        for line in &self.ever {
            let env = Envelope::parse(line.as_bytes()).unwrap();
            state.apply(&env, line.as_bytes());
            if JobCounts::line_has_counts(line.as_bytes()) {
                let counts = JobCounts::from_line(line.as_bytes());
                assert_eq!(counts, Some(state.job_counts()), "{line}");
            }
            acknowledged += usize::from(env.kind == EventType::Note || env.job_id().is_some());
        }
        assert_eq!(acknowledged, self.acknowledged);
        assert_eq!(fold(&self.dir).unwrap(), state);
        assert_eq!(
            read_summary(&self.dir, JobScope::All).unwrap().events,
            self.ever.len() as u64
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn only_pruned_events_disappear(ops in prop::collection::vec(op(), 1..30)) {
        let mut play = Play::new();
        for op in &ops {
            play.play(op);
        }
        // The next append completes everything that was interrupted.
        play.play(&Op::Note(0));
        verify(&play.dir, |fault| -> Result<(), StorageError> { panic!("{fault:?}") }).unwrap();
    }
}
