//! The memory limit of runlog's cgroup (v2).

use std::fs;
use std::path::{Component, Path};

/// The mount point of cgroup v2 (`cgroups(7)`).
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Returns the lowest `memory.max`, in bytes, of runlog's cgroup and its ancestors, if any.
pub(super) fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    lowest_limit(Path::new(CGROUP_ROOT), unified_path(&groups)?)
}

/// Returns how many processes of runlog's cgroup the OOM killer has killed (`memory.events` of
/// cgroup v2); `None` for the root cgroup and without cgroup v2.
pub fn oom_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let events = Path::new(CGROUP_ROOT)
        .join(unified_path(&groups)?)
        .join("memory.events");
    parse_oom_kills(&fs::read_to_string(events).ok()?)
}

fn parse_oom_kills(events: &str) -> Option<u64> {
    let line = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line?.trim().parse().ok()
}

/// Parses runlog's path in the hierarchy of cgroup v2, which has the number 0: `0::/user.slice`.
///
/// The path of a cgroup outside of runlog's cgroup namespace contains `..` and cannot be read.
fn unified_path(groups: &str) -> Option<&Path> {
    let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::/"))?);
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
