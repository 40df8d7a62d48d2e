//! `runlog` on a volume after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::disk::{Tree, make};
use crate::record::{Recording, event};

/// Returns `runlog` with a clean environment.
pub(crate) fn command(program: &str, root: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(root)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .env("NO_COLOR", "1")
        .env("RUNLOG", env!("CARGO_BIN_EXE_runlog"));
    command
}

/// An image of the volume that the power cut left.
pub(crate) struct World<'a> {
    pub(crate) recording: &'a Recording,
    /// The number of completed steps.
    pub(crate) cut: usize,
    /// Whether unsynced bytes may differ from the written ones.
    pub(crate) may_be_damaged: bool,
    /// The file that the rollback command of the recording appends a line to.
    pub(crate) mark: &'a Path,
    pub(crate) root: PathBuf,
    /// A description for messages.
    pub(crate) what: String,
}

impl World<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_runlog");
        command(program, &self.root).args(args).output().unwrap()
    }

    /// Runs `runlog`, which must exit with 0, or with 5 if bytes may be damaged.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        let code = output.status.code();
        let fine = code == Some(0) || code == Some(5) && self.may_be_damaged;
        assert!(fine, "{args:?} {} of {}", describe(&output), self.what);
        let stdout = output.stdout.split(|b| *b == b'\n');
        let lines = stdout.filter(|line| !line.is_empty());
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    /// Returns the states of the runs that have events.
    fn runs(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let runs = self.ok(&["status", "--json"]);
        runs.iter()
            .map(|run| (text(&run["run_id"]), text(&run["state"])))
            // Its directory was created, but no event was written.
            .filter(|(_, state)| state != "pending")
            .collect()
    }

    /// Returns the events of a run. Each must have been written once, in order.
    fn events(&self, run: &str) -> BTreeMap<u64, Vec<u8>> {
        let args = ["tail", run, "-n", "all", "--json"];
        let output = self.run(&args);
        let code = output.status.code();
        let fine = code == Some(0) || code == Some(5) && self.may_be_damaged;
        assert!(fine, "{args:?} {} of {}", describe(&output), self.what);
        let mut events = BTreeMap::new();
        let mut next = None;
        for line in output.stdout.split(|b| *b == b'\n') {
            let Some((_, seq)) = event(line) else {
                continue;
            };
            let in_order = next.is_none_or(|next| seq == next || self.may_be_damaged && seq > next);
            assert!(in_order, "{seq} is not {next:?} of {run} of {}", self.what);
            next = Some(seq + 1);
            events.insert(seq, line.to_vec());
        }
        events
    }

    /// Asserts that everything promised exists, and nothing that was never written.
    fn holds(&self, with_news: bool) {
        let promised = &self.recording.promised[self.cut];
        let runs = self.runs();
        let retired: BTreeSet<_> = self
            .ok(&["status", "--retired", "--json"])
            .iter()
            .map(|line| line["run_id"].as_str().unwrap().to_owned())
            .collect();
        for run in &promised.gone {
            let is_gone = !runs.contains_key(run) && retired.contains(run);
            assert!(is_gone, "{run} came back: {}", self.what);
        }
        for (run, promised) in &promised.events {
            let (is_there, is_retired) = (runs.contains_key(run), retired.contains(run));
            let once = is_there != is_retired || promised.is_empty();
            assert!(once, "{run}: {is_there} {is_retired}: {}", self.what);
            if !is_there {
                continue;
            }
            let events = self.events(run);
            for seq in promised {
                let written = &self.recording.events[run][seq];
                let read = events.get(seq);
                assert_eq!(
                    read.map(|line| String::from_utf8_lossy(line)),
                    Some(String::from_utf8_lossy(written)),
                    "event {seq} of {run} was acknowledged: {}",
                    self.what
                );
            }
            if !with_news {
                let known = &self.recording.events[run];
                for (seq, line) in &events {
                    assert!(known.get(seq) == Some(line), "{seq} of {}", self.what);
                }
            }
        }
    }

    /// Reads, continues, repairs, and reads again.
    pub(crate) fn check(&self) {
        self.holds(false);
        for (run, state) in self.runs() {
            let output = self.run(&["emit", "--run", &run, "after-the-cut"]);
            let closed = state == "completed" || state == "failed";
            let code = output.status.code();
            let begun = !self.events(&run).is_empty();
            if !begun && code == Some(3) {
                continue;
            }
            assert_eq!(
                code,
                Some(i32::from(closed)),
                "{} {}",
                describe(&output),
                self.what
            );
        }
        self.ok(&["replay", "--recover", "--all", "--with-rollback", "--json"]);
        for (run, state) in self.runs() {
            let ended = ["completed", "failed", "open"].contains(&state.as_str());
            assert!(ended, "{run} is {state} after recovery: {}", self.what);
            self.holds_notes(&run, &state);
        }
        let repaired = Tree::from_iter(files(&self.root));
        self.ok(&["replay", "--recover", "--all", "--json"]);
        let again = Tree::from_iter(files(&self.root));
        assert!(repaired == again, "recovered twice: {}", self.what);
        self.ok(&["rotate", "--all", "--compress"]);
        self.ok(&["gc", "--max-age", "0", "--dry-run", "--json"]);
        self.holds(true);
        for (run, _) in self.runs() {
            self.verify(&run);
            drop(self.run(&["replay", &run, "--rollback"]));
        }
        let rolled_back = std::fs::read(self.mark).unwrap_or_default().len();
        let before = self.recording.promised[self.cut].rollbacks;
        assert!(before + rolled_back <= 1, "undone twice: {}", self.what);
    }

    /// Asserts that a run has no faults except for lost output.
    fn verify(&self, run: &str) {
        let output = self.run(&["replay", run, "--verify", "--json"]);
        let lines = output.stdout.split(|b| *b == b'\n');
        let mut faults: Vec<Value> = lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        faults.retain(|fault| {
            fault["kind"]
                .as_str()
                .is_some_and(|kind| kind != "output_lost")
        });
        let code = output.status.code();
        let fine = matches!(code, Some(0 | 5)) && (faults.is_empty() || self.may_be_damaged);
        assert!(fine, "{faults:?} {} {}", describe(&output), self.what);
    }

    fn holds_notes(&self, run: &str, state: &str) {
        let events = self.events(run);
        let last = events.values().filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.contains("after-the-cut")
        });
        assert!(
            state != "open" || events.is_empty() || last.count() == 1,
            "{run}: {}",
            self.what
        );
    }

    /// Writes the image to a new directory, without the settings, so that the checks do not
    /// prune anything.
    pub(crate) fn make(&self, tree: &Tree) {
        let mut tree = tree.clone();
        tree.retain(|path, _| !path.starts_with("/.omne/lib"));
        make(&tree, &self.root);
        drop(std::fs::remove_file(self.mark));
    }
}

fn describe(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{:?}: {stderr}", output.status.code())
}

/// Returns all files below a directory except locks, which are empty.
fn files(root: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.to_str().unwrap().to_owned(), Some(bytes)));
        }
    }
    found
}
