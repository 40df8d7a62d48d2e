//! The descendants of a process, by parent id.

use std::collections::HashSet;
use std::fs;

use super::identity::LiveProcess;
use super::stat::{Stat, parse_number};

/// Finds all live descendants of `pid`, without zombies, by scanning `/proc`.
///
/// Processes that start or end during the scan may be missing, or may have ended.
pub fn descendants(pid: u32) -> Vec<LiveProcess> {
    let table = Stat::read_all().unwrap_or_default();
    descendants_in(pid, &table)
        .into_iter()
        .filter(|stat| !stat.is_dead())
        .map(LiveProcess::from)
        .collect()
}

/// Returns the processes of `table` that descend from `root`, without `root` itself.
pub(super) fn descendants_in<'a>(
    root: u32,
    table: impl IntoIterator<Item = &'a Stat>,
) -> Vec<&'a Stat> {
    let mut by_parent: Vec<&Stat> = table.into_iter().collect();
    by_parent.sort_unstable_by_key(|stat| stat.ppid);
    // `seen` guards against a cycle, which a pid that is reused during the scan could form.
    let mut seen = HashSet::from([root]);
    let mut parents = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        let first = by_parent.partition_point(|stat| stat.ppid < parent);
        let children = by_parent.iter().skip(first);
        for child in children.take_while(|stat| stat.ppid == parent) {
            if seen.insert(child.pid) {
                parents.push(child.pid);
                found.push(*child);
            }
        }
    }
    found
}

/// Returns `root` and its descendants without reading any other process, or `None` if the
/// kernel does not list children (`CONFIG_PROC_CHILDREN`).
///
/// The kernel may omit a child if a sibling ends while it lists them (`proc_pid_task(5)`).
/// That is good enough for a sample.
pub(super) fn walk_tree(root: Stat) -> Option<Vec<Stat>> {
    let root_pid = root.pid;
    let mut seen = HashSet::from([root_pid]);
    let mut found = vec![root];
    let mut parents = vec![root_pid];
    while let Some(parent) = parents.pop() {
        let Some(children) = children(parent) else {
            if parent == root_pid {
                return None;
            }
            continue;
        };
        for pid in children {
            if seen.insert(pid)
                && let Some(stat) = Stat::read(pid)
            {
                parents.push(pid);
                found.push(stat);
            }
        }
    }
    Some(found)
}

/// Returns the children of all threads of `pid`, or `None` if no list could be read.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut children = None;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Ok(thread) = thread else { continue };
        if let Ok(list) = fs::read(thread.path().join("children")) {
            let pids = list
                .split(u8::is_ascii_whitespace)
                .filter_map(parse_number::<u32>);
            children.get_or_insert_with(Vec::new).extend(pids);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio, id};

    use super::*;

    fn process(pid: u32, parent: u32) -> Stat {
        let line = format!("{pid} (p) S {parent} 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1 0 9 0 0");
        Stat::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn descendants_ignore_cycles() {
        let table = [
            (1, 0),
            (5, 1),
            (9, 5),
            (2, 9),
            (7, 1),
            (20, 21),
            (21, 20),
            (5, 2),
        ]
        .map(|(pid, parent)| process(pid, parent));
        let pids = |root| {
            let mut pids: Vec<u32> = descendants_in(root, &table)
                .iter()
                .map(|stat| stat.pid)
                .collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(pids(5), [2, 9]);
        assert_eq!(pids(20), [21]);
        assert!(pids(7).is_empty());
        assert!(pids(404).is_empty());
    }

    /// Starts a shell with a child `sleep`. Both end when the shell's stdin is closed.
    fn family() -> (Child, u32) {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; read _; kill $!"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    #[test]
    fn grandchildren_are_found_by_both_methods() {
        let (mut child, grandchild) = family();
        let descendants = |root| -> Vec<u32> {
            let found = descendants(root).into_iter();
            found.map(|process| process.pid).collect()
        };
        let all = descendants(id());
        assert!(all.contains(&child.id()) && all.contains(&grandchild));
        assert!(!all.contains(&id()));
        assert_eq!(descendants(child.id()), [grandchild]);
        if let Some(walked) = walk_tree(Stat::read(child.id()).unwrap()) {
            let walked: Vec<u32> = walked.iter().map(|stat| stat.pid).collect();
            assert_eq!(walked, [child.id(), grandchild]);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(Stat::read(child.id()).is_none());
    }
}
