//! Random histories of a volume, compared with a model: acknowledged events, the states of jobs,
//! and the output of followers with cursor files.
//!
//! `RUNLOG_MODEL_HISTORIES` sets the number of histories, and `RUNLOG_MODEL_SEED` the first
//! seed. A failure reports its seed.

mod followers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::support::crash::{has_strace, run_with_fault};
use crate::support::env::{Output, TestEnv};

const HISTORIES: u64 = 4;
const STEPS: u64 = 40;
const RUNS: [&str; 2] = ["a", "b"];

/// xorshift64*, which is the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// One run. Earlier and later runs may have the same id.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a separate fact about the run"
)]
struct Run {
    id: &'static str,
    first_id: String,
    /// Whether the run exists.
    is_there: bool,
    is_closed: bool,
    /// Whether the log was damaged, so that a reader may miss events.
    is_damaged: bool,
    /// Whether old segments were dropped.
    is_pruned: bool,
    /// Whether a rollback was started but its end could not be written, so that gc keeps the
    /// run.
    is_in_doubt: bool,
    /// The events that each follower saw: the one for all runs, and the one for the runs with
    /// this id.
    views: [View; 2],
    notes: BTreeSet<u64>,
    /// The stages of the jobs.
    jobs: BTreeMap<String, &'static str>,
}

/// The events of a run that a follower saw.
#[derive(Debug, Default)]
struct View {
    /// The sequence numbers of acknowledged notes that it has not seen yet.
    unseen: BTreeSet<u64>,
    /// The sequence numbers of all events that it has seen.
    seen: BTreeSet<u64>,
}

struct History {
    env: TestEnv,
    random: Random,
    runs: Vec<Run>,
    jobs: u64,
    /// Whether the follower of all runs was killed, so that it may print events again.
    may_repeat: bool,
    /// The ids whose own follower has a cursor.
    followed: BTreeSet<&'static str>,
    can_kill: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let env = TestEnv::new();
        let can_kill = has_strace(&env);
        env.ok(&["emit", "--open", "--run", "stays", "x"]);
        Self {
            env,
            random: Random(seed * 2 + 1),
            runs: Vec::new(),
            jobs: 0,
            may_repeat: false,
            followed: BTreeSet::new(),
            can_kill,
        }
    }

    fn step(&mut self) {
        let id = RUNS[self.random.below(RUNS.len() as u64) as usize];
        match self.random.below(22) {
            0..4 => self.note(id),
            4..7 => self.job(id),
            7 => self.close(id),
            8 => self.rotate(id, &[]),
            9 => self.rotate(id, &["--keep", "1"]),
            10 => self.gc(),
            11 => self.shorten_sealed(id),
            12 => self.damage_active(id),
            13 if self.can_kill => self.kill(id),
            14 => self.rollback_without_space(id),
            15 => self.follow_through_error(id),
            16..18 => self.follow_one(id),
            18..20 => self.replace(id),
            _ => self.follow_all(),
        }
        for at in 0..self.runs.len() {
            self.check(at);
        }
    }

    fn current(&mut self, id: &str) -> Option<&mut Run> {
        let mut runs = self.runs.iter_mut();
        runs.find(|run| run.id == id && run.is_there)
    }

    fn note(&mut self, id: &'static str) {
        let output = self
            .env
            .run(&["emit", "--open", "--ack", "--no-sync", "--run", id, "n"]);
        self.acknowledge(id, &output);
    }

    /// Records the events that `emit` acknowledged.
    fn acknowledge(&mut self, id: &'static str, output: &Output) {
        if self.current(id).is_some_and(|run| run.is_closed) {
            assert_eq!(output.code, 1, "{}", output.stderr());
            return;
        }
        assert_eq!(output.code, 0, "{}", output.stderr());
        let note: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seq = note["seq"].as_u64().unwrap();
        let run = self.opened(id);
        assert!(run.notes.insert(seq), "{seq} was acknowledged before");
        for view in &mut run.views {
            view.unseen.insert(seq);
        }
    }

    /// Returns the run with this id, which may be new.
    fn opened(&mut self, id: &'static str) -> &mut Run {
        if self.current(id).is_none() {
            let first_id = self.first_id(id);
            self.runs.push(Run {
                id,
                first_id,
                is_there: true,
                ..Run::default()
            });
        }
        self.current(id).unwrap()
    }

    fn first_id(&self, id: &str) -> String {
        let line = fs::read_to_string(self.env.log_path(id)).unwrap_or_default();
        let first: Value = serde_json::from_str(line.lines().next().unwrap_or("{}")).unwrap();
        let of_checkpoint = first["state"]["first_id"].as_str();
        let id = of_checkpoint.or(first["id"].as_str());
        id.unwrap_or_default().to_owned()
    }

    fn job(&mut self, id: &'static str) {
        self.jobs += 1;
        let job = format!("j{}", self.jobs);
        let fails = self.random.below(3) == 0;
        let command = if fails { "false" } else { "true" };
        let rollback = format!("echo {job} >>undone");
        let args = ["run", "-q", "--no-capture", "--run", id, "--job", &job];
        let output = self
            .env
            .run(&[&args[..], &["--rollback", &rollback, "--", command]].concat());
        if self.current(id).is_some_and(|run| run.is_closed) {
            assert_eq!(output.code, 125, "{}", output.stderr());
            return;
        }
        assert_eq!(output.code, i32::from(fails), "{}", output.stderr());
        let stage = if fails { "rolled_back" } else { "completed" };
        self.opened(id).jobs.insert(job, stage);
    }

    fn close(&mut self, id: &'static str) {
        if self.current(id).is_some_and(|run| !run.is_closed) {
            self.env.ok(&["run", "-q", "--run", id, "--close"]);
            self.opened(id).is_closed = true;
        }
    }

    fn rotate(&mut self, id: &'static str, more: &[&str]) {
        let Some(run) = self.current(id) else { return };
        run.is_pruned |= !more.is_empty();
        let output = self.env.run(&[&["rotate", id, "--force"], more].concat());
        let is_damaged = self.opened(id).is_damaged;
        assert!(output.code == 0 || is_damaged, "{}", output.stderr());
    }

    fn gc(&mut self) {
        let output = self.env.run(&["gc", "--max-runs", "0"]);
        assert!(matches!(output.code, 0 | 5), "{}", output.stderr());
        self.find_removed();
        let is_known = |run: &Run| !run.is_damaged && !run.is_in_doubt;
        let left = |run: &&Run| run.is_there && run.is_closed && is_known(run);
        assert_eq!(self.runs.iter().filter(left).count(), 0);
    }

    /// Removes a run, and a short one that has the same id.
    fn replace(&mut self, id: &'static str) {
        for _ in 0..2 {
            if self.current(id).is_none() {
                self.note(id);
            }
            self.close(id);
            self.gc();
        }
    }

    /// Records which runs were removed.
    fn find_removed(&mut self) {
        for at in 0..self.runs.len() {
            let run = &self.runs[at];
            if run.is_there && !self.env.exists(&format!(".omne/var/runs/{}", run.id)) {
                assert!(run.is_closed, "run {} was open", run.id);
                self.runs[at].is_there = false;
            }
        }
    }

    /// Puts the start of a sealed segment in front of its compressed file, like an interrupted
    /// restore. The checkpoint after it has the whole state.
    fn shorten_sealed(&mut self, id: &'static str) {
        if self.current(id).is_none_or(|run| run.is_closed) {
            return;
        }
        self.rotate(id, &[]);
        let dir = self.env.run_dir(id);
        let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
        let mut sealed: Vec<_> = names.filter_map(|n| n.into_string().ok()).collect();
        sealed.retain(|name| name.ends_with(".jsonl.gz"));
        sealed.sort();
        let Some(last) = sealed.pop() else { return };
        let plain = dir.join(last.strip_suffix(".gz").unwrap());
        let script = format!(
            "gzip -dc '{}' | head -c 300 >'{}'",
            dir.join(&last).display(),
            plain.display()
        );
        assert_eq!(self.env.sh(&script).code, 0);
        if self.random.below(2) == 0 {
            fs::remove_file(dir.join(&last)).unwrap();
        }
        self.opened(id).is_damaged = true;
        let before = self.undone();
        let args = ["replay", id, "--recover", "--with-rollback"];
        let output = self.env.run(&args);
        assert_eq!(output.code, 0, "{}", output.stderr());
        assert_eq!(self.undone(), before, "a job was undone that had ended");
    }

    /// Returns the jobs whose rollbacks were run.
    fn undone(&self) -> String {
        fs::read_to_string(self.env.path("undone")).unwrap_or_default()
    }

    /// Lets the supervisor of the last job write no more than a few bytes once its rollback has
    /// run: often the end of the rollback, but not the close of the run, whose summary has the
    /// long command.
    fn rollback_without_space(&mut self, id: &'static str) {
        let can_close = |run: &mut Run| !run.is_closed && !run.is_damaged;
        if !self.current(id).is_some_and(can_close) {
            return;
        }
        self.jobs += 1;
        let job = format!("j{}", self.jobs);
        let log = self.env.log_path(id);
        let left = 1000 + 5000 * self.random.below(4);
        let rollback = format!(
            ": {:20000}; prlimit --pid $PPID --fsize=$(($(stat -c %s '{}') + {left}))",
            "",
            log.display()
        );
        let args = ["run", "-q", "--no-capture", "--run", id, "--job", &job];
        let more = ["--close", "--rollback", &rollback, "--", "false"];
        let output = self.env.run(&[&args[..], &more].concat());
        assert_eq!(output.code, 1, "{}", output.stderr());
        let events = self.env.run(&["replay", id, "--json"]).stdout();
        let of_job = format!("\"job_id\":\"{job}\"");
        let is_end = |line: &&str| line.contains("\"job_rolled_back\"") && line.contains(&of_job);
        let ends = events.lines().filter(is_end).count();
        assert!(ends <= 1, "the rollback of {job} ended {ends} times");
        let is_closed = events.contains("\"type\":\"run_closed\"");
        let run = self.opened(id);
        run.is_closed = is_closed;
        run.is_in_doubt |= ends == 0;
        let stage = if ends == 0 { "failed" } else { "rolled_back" };
        run.jobs.insert(job, stage);
    }

    /// Damages the end of a job. Nothing may be undone then, because the job may have succeeded.
    fn damage_active(&mut self, id: &'static str) {
        let path = self.env.log_path(id);
        let Ok(log) = fs::read_to_string(&path) else {
            return;
        };
        let damaged = log.replacen("\"job_completed\"", "\"job_completeD\"", 1);
        if self.current(id).is_none_or(|run| run.is_closed) || damaged == log {
            return;
        }
        fs::write(&path, damaged).unwrap();
        let before = self.undone();
        let args = ["replay", id, "--recover", "--with-rollback"];
        let output = self.env.run(&args);
        assert_eq!(output.code, 5, "{}{}", output.stdout(), output.stderr());
        assert_eq!(self.env.run(&["status", id]).code, 5);
        assert_eq!(self.undone(), before, "a command was run over damage");
        fs::write(&path, log).unwrap();
    }

    /// Kills a command at one of its writes, renames or removals.
    fn kill(&mut self, id: &'static str) {
        let calls = [
            "write",
            "renameat2",
            "renameat",
            "unlinkat",
            "fdatasync",
            "fallocate",
        ];
        let call = calls[self.random.below(calls.len() as u64) as usize];
        let fault = format!("{call}:signal=KILL:when={}", 1 + self.random.below(3));
        let commands: [&[&str]; 3] = [
            &["gc", "--max-runs", "0"],
            &["rotate", id, "--force"],
            &["tail", "--all", "--json", "--cursor-file", "cursors"],
        ];
        let args = commands[self.random.below(3) as usize];
        let output = run_with_fault(&self.env, &[], &fault, args);
        if args[0] == "tail" {
            self.may_repeat = true;
            self.record_printed(followers::ALL, &output.stdout());
            return;
        }
        self.find_removed();
    }

    /// Compares a run with the model.
    fn check(&self, at: usize) {
        let run = &self.runs[at];
        if !run.is_there {
            return;
        }
        let status = self.env.run(&["status", run.id, "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let jobs = status["jobs"].as_array().unwrap().iter();
        let jobs: BTreeMap<_, _> = jobs
            .map(|job| {
                (
                    job["job_id"].as_str().unwrap(),
                    job["stage"].as_str().unwrap(),
                )
            })
            .collect();
        let known = run.jobs.iter().map(|(id, stage)| (id.as_str(), *stage));
        assert_eq!(jobs, known.collect(), "{run:?}");
        let has_failed = run.jobs.values().any(|stage| *stage != "completed");
        let state = match (run.is_closed, has_failed) {
            (false, _) => "open",
            (true, true) => "failed",
            (true, false) => "completed",
        };
        assert_eq!(status["state"], state, "{run:?}");
        if run.is_damaged {
            return;
        }
        let verified = self.env.run(&["replay", run.id, "--verify"]);
        assert_eq!(
            verified.code,
            0,
            "{}{}",
            verified.stdout(),
            verified.stderr()
        );
        let events = self.env.run(&["replay", run.id, "--json"]).stdout();
        let seqs: Vec<u64> = events
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["seq"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        let first = seqs.first().copied().unwrap_or(0);
        assert!(seqs.iter().copied().eq(first..first + seqs.len() as u64));
        assert!(first == 0 || run.is_pruned);
        let kept = run.notes.range(first..);
        assert!(
            kept.copied().all(|seq| seq < first + seqs.len() as u64),
            "{run:?}"
        );
    }
}

#[test]
fn random_histories_match_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let seed: u64 = number("RUNLOG_MODEL_SEED").unwrap_or(1);
    let histories = number("RUNLOG_MODEL_HISTORIES").unwrap_or(HISTORIES);
    for seed in seed..seed + histories {
        eprintln!("RUNLOG_MODEL_SEED={seed}");
        let mut history = History::new(seed);
        history.follow_all();
        for _ in 0..STEPS {
            history.step();
        }
        history.follow_all();
    }
}
