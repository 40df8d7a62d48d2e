//! The processes below a job that signals to the job must not reach: daemons, and what the
//! supervisor of a nested run watches.

use std::collections::HashSet;

use crate::telemetry;
use crate::telemetry::LiveProcess;

/// Returns the supervisors of nested runs among the processes of a job: those that have the name
/// `program` and lead a group but not a session, and whose parent is a front, or one of the
/// `adopters` after the front has died. A front whose parent is a shell with job control leads a
/// group too.
fn supervisors<'a>(
    processes: &[&'a LiveProcess],
    adopters: &[u32],
    program: &str,
) -> Vec<&'a LiveProcess> {
    let is_runlog = |process: &LiveProcess| process.name == program;
    let is_front = |pid| {
        let mut parents = processes.iter().filter(|it| it.pid == pid);
        parents.any(|it| is_runlog(it)) || adopters.contains(&pid)
    };
    let is_supervisor = |process: &&LiveProcess| {
        is_runlog(process)
            && process.group == process.pid
            && process.session != process.pid
            && is_front(process.parent)
    };
    processes.iter().copied().filter(is_supervisor).collect()
}

/// Returns the name of this program, which all processes of runlog have.
fn own_name() -> String {
    telemetry::program_name(std::process::id()).unwrap_or_default()
}

/// Returns the daemons among the processes of a job, of which those in `left` have left its
/// group and session.
///
/// A process that has left is a daemon if its parent has ended, so that one of the `adopters` or
/// the front of a nested run is its parent now. So are its children that have left.
pub(crate) fn daemons(
    processes: &[&LiveProcess],
    adopters: &[u32],
    has_left: impl Fn(&LiveProcess) -> bool,
) -> HashSet<u32> {
    let nested = supervisors(processes, adopters, &own_name());
    let is_adopted_by_nested = |process: &LiveProcess| {
        let mut nested = nested.iter();
        nested.any(|it| it.parent == process.parent && it.session != process.session)
    };
    let left: Vec<&LiveProcess> = processes
        .iter()
        .copied()
        .filter(|it| has_left(it))
        .collect();
    subtrees(&left, |process| {
        adopters.contains(&process.parent) || is_adopted_by_nested(process)
    })
}

/// Returns the supervisors of nested runs among the processes of a job, and all processes below
/// them. `own` is the supervisor of the job itself.
pub(crate) fn nested_runs(processes: &[&LiveProcess], adopters: &[u32], own: u32) -> HashSet<u32> {
    let nested = supervisors(processes, adopters, &own_name());
    let nested: HashSet<u32> = nested.iter().map(|it| it.pid).collect();
    subtrees(processes, |process| {
        nested.contains(&process.pid) && process.pid != own
    })
}

/// Returns the processes that are roots, and those below them.
fn subtrees(processes: &[&LiveProcess], is_root: impl Fn(&LiveProcess) -> bool) -> HashSet<u32> {
    let roots = processes.iter().filter(|it| is_root(it));
    let mut found: HashSet<u32> = roots.map(|it| it.pid).collect();
    loop {
        let known = found.len();
        for process in processes {
            if found.contains(&process.parent) {
                found.insert(process.pid);
            }
        }
        if found.len() == known {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONT: u32 = 10;
    const SUPERVISOR: u32 = 11;
    const SESSION: u32 = 1;

    fn process(pid: u32, parent: u32, session: u32, name: &str) -> LiveProcess {
        LiveProcess {
            pid,
            parent,
            group: pid,
            session,
            start_ticks: 0,
            name: name.to_owned(),
        }
    }

    fn sorted(found: HashSet<u32>) -> Vec<u32> {
        let mut found: Vec<u32> = found.into_iter().collect();
        found.sort_unstable();
        found
    }

    /// Returns a job with daemons, and with a nested run that has a daemon too.
    fn tree() -> Vec<LiveProcess> {
        let runlog = &own_name();
        vec![
            process(SUPERVISOR, FRONT, SESSION, runlog),
            process(20, SUPERVISOR, SESSION, "sh"),
            process(21, 20, 21, "setsid child"),
            process(22, FRONT, SESSION, "orphan"),
            process(31, 30, 30, "child of daemon"),
            process(30, FRONT, 30, "daemon"),
            LiveProcess {
                group: 20,
                ..process(40, 20, SESSION, runlog)
            },
            process(41, 40, SESSION, runlog),
            process(42, 41, 42, "nested job"),
            process(43, 40, 43, "nested daemon"),
            process(44, 40, SESSION, "nested orphan"),
        ]
    }

    #[test]
    fn adopted_processes_of_other_sessions_are_daemons() {
        let tree = tree();
        let tree: Vec<&LiveProcess> = tree.iter().collect();
        let found = daemons(&tree, &[FRONT], |it| it.session != SESSION);
        assert_eq!(sorted(found), [30, 31, 43]);
    }

    #[test]
    fn nested_supervisor_keeps_its_processes() {
        let tree = tree();
        let tree: Vec<&LiveProcess> = tree.iter().collect();
        assert_eq!(sorted(nested_runs(&tree, &[FRONT], SUPERVISOR)), [41, 42]);
    }
}
