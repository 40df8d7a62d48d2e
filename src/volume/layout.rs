//! Every name below a volume's root is made here.

use ulid::Ulid;

use super::{JobId, RunId};

/// The folder that makes a folder a volume.
pub const OMNE: &str = ".omne";
/// Everything that changes while runs go on, from the root.
pub const VAR: &str = ".omne/var";
/// The runs, from the root.
pub const RUNS: &str = ".omne/var/runs";
/// The last ULID that was allocated, from the root.
pub const ULID_LAST: &str = ".omne/var/.ulid-last";

/// Its name in `var/`.
pub const ULID_LAST_NAME: &str = ".ulid-last";

/// The folder and the name of the volume's settings, from the root.
pub const SETTINGS: (&str, &str) = (".omne/lib/cfg", "runlog.toml");
/// The folder in `var/` of what gc is in the middle of removing.
pub const TRASH: &str = "trash";
/// One line for each run that gc removed, in `var/`.
pub const RETIRED: &str = "retired.jsonl";

/// What writers of a run lock.
pub const LOCK: &str = "lock";
/// The active segment of a run.
pub const ACTIVE: &str = "events.jsonl";
/// What was cut out of a damaged log.
pub const QUARANTINE: &str = "quarantine";
/// What the jobs of a run printed.
pub const JOBS: &str = "jobs";

/// The folder of a run, from the root of the volume.
pub fn run_dir(run: &RunId) -> String {
    format!("{RUNS}/{run}")
}

/// The name in [`TRASH`] of a run that goes.
pub fn trash_name(run: &RunId, ulid: &Ulid) -> String {
    format!("{run}.{}", ulid.to_string().to_ascii_lowercase())
}

/// The run that something in [`TRASH`] was; `None` for what gc did not put there.
pub fn parse_trash_name(name: &str) -> Option<RunId> {
    let (run, ulid) = name.rsplit_once('.')?;
    let ulid_fits = ulid.len() == ulid::ULID_LEN && Ulid::from_string(ulid).is_ok();
    run.parse().ok().filter(|_| ulid_fits)
}

/// How the name of what a job printed ends.
pub const OUTPUT_SUFFIX: &str = ".out";

/// The active segment of a run, from the folder of the runs.
pub fn active_of(run: &RunId) -> String {
    format!("{run}/{ACTIVE}")
}

/// What the job printed, in its run's folder `jobs/`.
pub fn job_out(job: &JobId) -> String {
    format!("{job}{OUTPUT_SUFFIX}")
}

/// Which bytes of [`job_out`] came when and from which stream.
pub fn job_index(job: &JobId) -> String {
    format!("{job}.out.idx")
}

/// The name of a sealed segment whose first event is `first_seq`.
pub fn sealed(first_seq: u64) -> String {
    format!("events-{first_seq:020}.jsonl")
}

/// A new segment before it gets its name, and a compressed one before it is checked.
pub fn temp_segment_name(of: &str, ulid: &Ulid) -> String {
    format!("{of}.{}{TEMP_SUFFIX}", ulid.to_string().to_lowercase())
}

/// What is written in place of another file, before it gets its name.
pub fn temp_file_name(pid: u32, n: u32) -> String {
    format!(".runlog-{pid}-{n}{TEMP_SUFFIX}")
}

/// How the names of [`unfinished`] files end.
pub const TEMP_SUFFIX: &str = ".tmp";

/// The name of a sealed segment once it is compressed.
pub fn compressed(sealed: &str) -> String {
    format!("{sealed}.gz")
}

/// The first `seq` of a sealed segment and whether it is compressed, from its name.
pub fn parse_sealed(name: &str) -> Option<(u64, bool)> {
    let stem = name.strip_prefix("events-")?;
    let (digits, compressed) = match stem.strip_suffix(".jsonl.gz") {
        Some(digits) => (digits, true),
        None => (stem.strip_suffix(".jsonl")?, false),
    };
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(|seq| (seq, compressed)))?
}

/// The n-th attempt at a name for bytes cut from `offset` of the segment that
/// begins with `first_seq`.
pub fn quarantine_name(first_seq: u64, offset: u64, n: u32) -> String {
    format!("{first_seq:020}@{offset}.{n}")
}

/// What is about to replace the cursor file `name`, in the same folder.
pub fn cursor_temp_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Which of the files that runtimo rotated away from its log `wal` this is, by its name:
/// whether 0.1 did it, which took the extension of `wal` off, and how often the log was
/// rotated since.
pub fn parse_rotated_wal(name: &str, wal: &str) -> Option<(bool, u64)> {
    let number = |of: &str| {
        let digits = name.strip_prefix(of)?.strip_prefix('.')?;
        let all_digits = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        all_digits.then(|| digits.parse::<u64>().ok())?
    };
    let new = number(wal).map(|n| (false, n));
    new.or_else(|| number(&runtimo_0_1_wal_name(wal)).map(|n| (true, n)))
}

/// What runtimo 0.1 calls the log `wal` when it rotates it.
pub fn runtimo_0_1_wal_name(wal: &str) -> String {
    let stem = match wal.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => wal,
    };
    format!("{stem}.wal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_names_round_trip() {
        let run: RunId = "a.b-1".parse().unwrap();
        let name = trash_name(&run, &Ulid::from_parts(1, 2));
        assert_eq!(parse_trash_name(&name), Some(run));
        for bad in [
            "a",
            "a.b",
            ".00000000010000000000000002",
            "a.0000000001000000000000000",
        ] {
            assert_eq!(parse_trash_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn sealed_names_round_trip() {
        assert_eq!(parse_sealed(&sealed(7)), Some((7, false)));
        assert_eq!(parse_sealed(&format!("{}.gz", sealed(7))), Some((7, true)));
        for bad in [
            "events.jsonl",
            "events-7.jsonl",
            "events-.jsonl",
            "events-0000000000000000000x.jsonl",
        ] {
            assert_eq!(parse_sealed(bad), None, "{bad}");
        }
    }

    #[test]
    fn rotated_logs_of_runtimo_are_told_by_their_names() {
        for (name, wal, is) in [
            ("wal.jsonl.1", "wal.jsonl", Some((false, 1))),
            ("wal.jsonl.12", "wal.jsonl", Some((false, 12))),
            ("wal.wal.2", "wal.jsonl", Some((true, 2))),
            ("a.wal.2", "a.wal", Some((false, 2))),
            (".wal.2", ".wal", Some((false, 2))),
            ("wal.jsonl", "wal.jsonl", None),
            ("wal.jsonl.01", "wal.jsonl", None),
            ("wal.jsonl.", "wal.jsonl", None),
            ("wal.jsonl.x", "wal.jsonl", None),
            ("wal.jsonl.1.gz", "wal.jsonl", None),
            ("other.wal.1", "wal.jsonl", None),
        ] {
            assert_eq!(parse_rotated_wal(name, wal), is, "{name}");
        }
    }
}
