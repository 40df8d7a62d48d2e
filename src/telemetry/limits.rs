//! The memory limit (v2) and the OOM kills of runlog's cgroup.

use std::fs;
use std::path::{Component, Path};

/// The mount point of cgroup v2 (`cgroups(7)`).
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Returns the lowest `memory.max`, in bytes, of runlog's cgroup and its ancestors, if any.
pub(super) fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    lowest_limit(Path::new(CGROUP_ROOT), unified_path(&groups)?)
}

/// Returns how many processes of runlog's cgroup the OOM killer has killed; `None` for the root
/// of cgroup v2 and without cgroups.
pub fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    oom_kills_below(Path::new(CGROUP_ROOT), &groups)
}

/// Reads `memory.events` of cgroup v2, or `memory.oom_control` of v1 (since Linux 4.13), which
/// both have a line `oom_kill COUNT`.
fn oom_kills_below(root: &Path, groups: &str) -> Option<u64> {
    let unified = unified_path(groups).map(|path| root.join(path).join("memory.events"));
    let memory = root.join("memory");
    let files = unified
        .into_iter()
        .chain(memory_path(groups).map(|path| memory.join(path).join("memory.oom_control")))
        // A container sees its own cgroup of v1 as the root.
        .chain([memory.join("memory.oom_control")]);
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|counts| parse_oom_kills(&counts))
}

fn parse_oom_kills(counts: &str) -> Option<u64> {
    let line = counts
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

/// Parses runlog's path in the hierarchy of cgroup v2, which has the number 0: `0::/user.slice`.
///
/// The path of a cgroup outside of runlog's cgroup namespace contains `..` and cannot be read.
fn unified_path(groups: &str) -> Option<&Path> {
    visible(groups.lines().find_map(|line| line.strip_prefix("0::/"))?)
}

/// Parses runlog's path in the memory hierarchy of cgroup v1: `4:memory:/docker/1a2b`.
fn memory_path(groups: &str) -> Option<&Path> {
    visible(groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(":/")?;
        let has_memory = controllers.split(',').any(|name| name == "memory");
        has_memory.then_some(path)
    })?)
}

fn visible(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then_some(path)
}

fn lowest_limit(root: &Path, path: &Path) -> Option<u64> {
    path.ancestors()
        .filter_map(|group| fs::read_to_string(root.join(group).join("memory.max")).ok())
        .filter_map(|max| max.trim().parse().ok()) // "max" is no limit
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unified_path_is_parsed() {
        let mixed = "9:name=systemd:/a\n4:memory:/b\n0::/user.slice/x y:z.scope\n";
        assert_eq!(
            unified_path(mixed),
            Some(Path::new("user.slice/x y:z.scope"))
        );
        assert_eq!(unified_path("0::/\n"), Some(Path::new("")));
        for odd in ["", "4:memory:/b\n", "0::/../../up\n", "0::\n", "\n\n"] {
            assert_eq!(unified_path(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn oom_kills_are_parsed() {
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(parse_oom_kills(events), Some(2));
        assert_eq!(parse_oom_kills("low 0\n"), None);
    }

    #[test]
    fn oom_kills_of_either_version_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, counts: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, counts).unwrap();
        };
        let kills = |groups| oom_kills_below(root.path(), groups);
        let both = "4:cpu,memory:/a/b\n3:cpu:/c\n0::/\n";
        assert_eq!(kills(both), None);
        write("memory/memory.oom_control", "under_oom 0\noom_kill 7\n");
        assert_eq!(kills(both), Some(7));
        write("memory/a/b/memory.oom_control", "oom_kill 2\n");
        assert_eq!(kills(both), Some(2));
        write("d/memory.events", "oom 3\noom_kill 1\n");
        assert_eq!(kills("4:memory:/a/b\n0::/d\n"), Some(1));
    }

    #[test]
    fn lowest_memory_limit_applies() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        let limit = || lowest_limit(root.path(), Path::new("a/b"));
        assert_eq!(limit(), None);
        fs::write(leaf.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        assert_eq!(limit(), Some(1000));
        fs::write(leaf.join("memory.max"), "2000\n").unwrap();
        assert_eq!(limit(), Some(1000));
        fs::write(leaf.join("memory.max"), "garbage").unwrap();
        assert_eq!(limit(), Some(1000));
    }
}
