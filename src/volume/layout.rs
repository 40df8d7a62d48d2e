//! The names of all files and directories below the root of a volume.

use ulid::Ulid;

use super::ulid_text::format_ulid;
use super::{JobId, RunId};

/// The directory that makes its parent a volume.
pub const OMNE: &str = ".omne";
/// The directory of everything that changes while runs are active, from the root.
pub const VAR: &str = ".omne/var";
/// The directory of everything that changes, in `.omne/`.
pub const VAR_NAME: &str = "var";
/// The directory of the runs, in `var/`.
pub const RUNS_NAME: &str = "runs";
/// The file in `var/` that makes git ignore the logs.
pub const GIT_IGNORE: &str = ".gitignore";
/// The directory of the locks of `run --lock`, in `var/`.
pub const LOCKS: &str = "locks";
/// The directory of the runs, from the root.
pub const RUNS: &str = ".omne/var/runs";
/// The file with the last allocated ULID, from the root.
pub const ULID_LAST: &str = ".omne/var/.ulid-last";

/// The file with the last allocated ULID, in `var/`.
pub const ULID_LAST_NAME: &str = ".ulid-last";

/// The directory and the name of the settings file, from the root.
pub const SETTINGS: (&str, &str) = (".omne/lib/cfg", "runlog.toml");
/// The directory in `var/` of the runs that gc is removing.
pub const TRASH: &str = "trash";
/// The file in `var/` with one line for each run that gc removed.
pub const RETIRED: &str = "retired.jsonl";
/// The temporary file that replaces [`RETIRED`] without its oldest lines.
pub const RETIRED_NEW: &str = "retired.jsonl.tmp";

/// The file that writers of a run lock.
pub const LOCK: &str = "lock";
/// The active segment of a run.
pub const ACTIVE: &str = "events.jsonl";
/// The directory of the bytes that were cut out of a damaged log.
pub const QUARANTINE: &str = "quarantine";
/// The directory of the captured output of a run's jobs.
pub const JOBS: &str = "jobs";

/// Returns the directory of a run, from the root.
pub fn run_dir(run: &RunId) -> String {
    format!("{RUNS}/{run}")
}

/// Returns the name of a run in [`TRASH`].
pub fn trash_name(run: &RunId, ulid: &Ulid) -> String {
    format!("{run}.{}", format_ulid(*ulid))
}

/// Returns the run whose directory became this entry of [`TRASH`]; `None` if gc did not put it
/// there.
pub fn parse_trash_name(name: &str) -> Option<RunId> {
    let (run, ulid) = name.rsplit_once('.')?;
    let ulid_fits = ulid.len() == ulid::ULID_LEN && Ulid::from_string(ulid).is_ok();
    run.parse().ok().filter(|_| ulid_fits)
}

/// The suffix of files with the captured output of a job.
pub const OUTPUT_SUFFIX: &str = ".out";

/// Returns the path of a run's active segment, from the directory of the runs.
pub fn active_of(run: &RunId) -> String {
    format!("{run}/{ACTIVE}")
}

/// Returns the name of a job's captured output in [`JOBS`].
pub fn job_out(job: &JobId) -> String {
    format!("{job}{OUTPUT_SUFFIX}")
}

/// Returns the name of the index that records when and from which stream each byte of
/// [`job_out`] arrived.
pub fn job_index(job: &JobId) -> String {
    format!("{job}{OUTPUT_SUFFIX}.idx")
}

/// Returns the name of the sealed segment whose first event has the number `first_seq`.
pub fn sealed(first_seq: u64) -> String {
    format!("events-{first_seq:020}.jsonl")
}

/// Returns the temporary name of a new segment, or of a compressed one that is not yet verified.
pub fn temp_segment_name(of: &str, ulid: &Ulid) -> String {
    format!("{of}.{}{TEMP_SUFFIX}", format_ulid(*ulid))
}

/// Returns the temporary name of a file that will replace another one.
pub fn temp_file_name(pid: u32, n: u32) -> String {
    format!(".runlog-{pid}-{n}{TEMP_SUFFIX}")
}

/// The suffix of temporary files.
pub const TEMP_SUFFIX: &str = ".tmp";

/// Returns the name of a sealed segment after compression.
pub fn compressed(sealed: &str) -> String {
    format!("{sealed}.gz")
}

/// Parses the name of a sealed segment into its first `seq` and whether it is compressed.
pub fn parse_sealed(name: &str) -> Option<(u64, bool)> {
    let stem = name.strip_prefix("events-")?;
    let (digits, compressed) = match stem.strip_suffix(".jsonl.gz") {
        Some(digits) => (digits, true),
        None => (stem.strip_suffix(".jsonl")?, false),
    };
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(|seq| (seq, compressed)))?
}

/// Returns the n-th candidate name for bytes cut at `offset` from the segment that starts with
/// `first_seq`.
pub fn quarantine_name(first_seq: u64, offset: u64, n: u32) -> String {
    format!("{first_seq:020}@{offset}.{n}")
}

/// Returns the temporary name of the replacement of the cursor file `name`, in the same
/// directory.
pub fn cursor_temp_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Parses the name of a rotated file of runtimo's log `wal`.
///
/// Returns whether version 0.1 rotated it, which drops the extension of `wal`, and how many
/// times the log has been rotated since.
pub fn parse_rotated_wal(name: &str, wal: &str) -> Option<(bool, u64)> {
    let number = |of: &str| {
        let digits = name.strip_prefix(of)?.strip_prefix('.')?;
        let all_digits = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        all_digits.then(|| digits.parse::<u64>().ok())?
    };
    let new = number(wal).map(|n| (false, n));
    new.or_else(|| number(&runtimo_0_1_wal_name(wal)).map(|n| (true, n)))
}

/// Returns the base name that runtimo 0.1 uses when it rotates the log `wal`.
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
    fn trash_names_round_trip() {
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
    fn rotated_runtimo_logs_are_parsed() {
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
