//! Followers in a random history: each event is shown once, and every gap is reported.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use super::{History, Run};

/// The follower of all runs.
pub(super) const ALL: usize = 0;
/// The followers of the runs of one id.
pub(super) const ONE: usize = 1;

impl History {
    /// Runs the follower of all runs.
    pub(super) fn follow_all(&mut self) {
        let args = ["tail", "--all", "--json", "--cursor-file", "cursors"];
        let output = self.env.run(&args);
        assert!(matches!(output.code, 0 | 5), "{}", output.stderr());
        let printed = output.stdout();
        assert!(output.code == 5 || !has_gap(&printed), "{printed}");
        self.record_printed(ALL, &printed);
        self.check_seen(ALL, |_| true);
        self.may_repeat = false;
    }

    /// Runs the follower of the runs of `id`.
    pub(super) fn follow_one(&mut self, id: &'static str) {
        let file = format!("cursor-{id}");
        let args = ["tail", id, "--json", "--cursor-file", &file];
        let output = self.env.run(&args);
        assert!(matches!(output.code, 0 | 3 | 5), "{}", output.stderr());
        let printed = output.stdout();
        let is_first = !self.followed.contains(id);
        if printed.contains("\"seq\":") {
            self.followed.insert(id);
        }
        assert!(output.code == 5 || !has_gap(&printed), "{printed}");
        self.record_printed(ONE, &printed);
        if is_first {
            // Without a cursor, it shows what is there.
            for run in self.runs.iter_mut().filter(|run| run.id == id) {
                run.views[ONE].unseen.clear();
            }
        }
        self.check_seen(ONE, |run| run.id == id);
    }

    /// Follows all runs while the log of one of them cannot be read for a moment.
    pub(super) fn follow_through_error(&mut self, id: &'static str) {
        let is_other = |run: &mut Run| run.is_closed || run.is_damaged;
        if self.current(id).is_none_or(is_other) {
            return;
        }
        let args = ["tail", "--all", "-f", "--json", "--cursor-file", "cursors"];
        let mut follower = self.env.spawn(&args);
        let log = self.env.log_path(id);
        for is_readable in [true, false] {
            if !is_readable {
                let aside = self.env.path("aside");
                fs::rename(&log, &aside).unwrap();
                fs::create_dir(&log).unwrap();
                while !follower.read_stderr_line().contains("is a directory") {}
                fs::remove_dir(&log).unwrap();
                fs::rename(&aside, &log).unwrap();
            }
            self.note(id);
            while !self.opened(id).views[ALL].unseen.is_empty() {
                let line = String::from_utf8(follower.read_line()).unwrap();
                self.record_printed(ALL, &line);
            }
        }
        follower.signal(Signal::TERM);
        let printed = follower.end().stdout();
        self.record_printed(ALL, &printed);
        self.may_repeat = false;
    }

    /// Checks that the follower has seen everything of the runs that `is_shown` selects.
    fn check_seen(&self, follower: usize, is_shown: impl Fn(&Run) -> bool) {
        let shown = self.runs.iter().filter(|run| is_shown(run));
        for run in shown.filter(|run| !run.is_damaged) {
            let unseen = &run.views[follower].unseen;
            assert!(unseen.is_empty(), "follower {follower} missed: {run:?}");
        }
    }

    /// Records what a follower printed.
    pub(super) fn record_printed(&mut self, follower: usize, printed: &str) {
        let lines = printed
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in lines {
            let run_id = line["run_id"].as_str().unwrap();
            let of_id = self.runs.iter_mut().filter(|run| run.id == run_id);
            if line["type"] == "gap" {
                let from = line["from_seq"].as_u64().unwrap_or(0);
                let to = line["to_seq"].as_u64().unwrap_or(u64::MAX);
                let is_dropped = line["reason"] == "dropped";
                // Otherwise, the events are those of an earlier run with this id.
                for run in of_id.filter(|run| is_dropped || !run.is_there || run.is_damaged) {
                    let unseen = &mut run.views[follower].unseen;
                    unseen.retain(|seq| !(from..=to).contains(seq));
                }
                continue;
            }
            let seq = line["seq"].as_u64().unwrap();
            let may_repeat = self.may_repeat && follower == ALL;
            let id = line["id"].as_str().unwrap();
            // Ids increase, so the event belongs to the last run that started before it.
            let started = of_id.filter(|run| *run.first_id <= *id);
            if let Some(run) = started.last() {
                let view = &mut run.views[follower];
                let is_new = view.seen.insert(seq);
                assert!(
                    is_new || may_repeat || run.is_damaged,
                    "follower {follower} saw {seq} of {run_id} again"
                );
                view.unseen.remove(&seq);
            }
        }
    }
}

fn has_gap(printed: &str) -> bool {
    printed.contains("\"type\":\"gap\"")
}
