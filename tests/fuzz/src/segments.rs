//! A run's log of any bytes, in up to three segments.
//!
//! The first two bytes say where to cut it. A line that starts with `+` becomes an event of
//! runlog with a valid envelope: the next byte is added to its number, so that there are copies
//! and gaps, and the rest is its body.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use runlog::log::{
    Draft, Durability, Envelope, ForeignPolicy, Item, JobScope, Reader, RunLog, last_lines,
    read_summary,
};
use runlog::volume::{Dir, Volume};

use crate::framed;

/// An item that a reader returned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Line(Vec<u8>),
    Damage(String),
}

/// Asserts that a compressed segment reads as before, that the last lines are the last ones,
/// that the summary has the right counts, and that an appended event comes after all others.
pub fn segments(data: &[u8]) {
    let Some((cuts, rest)) = data.split_at_checked(2) else {
        return;
    };
    let log = log_of(rest);
    let tmp = tempfile::Builder::new()
        .prefix("runlog-fuzz-")
        .tempdir_in("/dev/shm")
        .expect("a directory in memory");
    let volume = Volume::create(tmp.path()).expect("a volume");
    let dir = tmp.path().join(".omne/var/runs/r");
    fs::create_dir_all(&dir).expect("a directory");
    let names = write(&dir, &log, cuts);
    let opened = Dir::open(&dir).expect("the directory of the run");
    let plain = read(&opened);
    for name in &names {
        compress(&dir.join(name));
    }
    let mut read_back = read(&opened);
    // A segment is compressed only if the active one starts with a checkpoint, so one without
    // counts as replaced.
    let replaced = Read::Damage("1 0 events are missing before it".to_owned());
    if read_back.len() > plain.len() {
        assert_eq!(read_back.pop(), Some(replaced));
    }
    assert_eq!(plain, read_back, "compressed segments read otherwise");

    let lines: Vec<&Vec<u8>> = plain.iter().filter_map(line_of).collect();
    // Only a reader that starts at the first segment detects that a line is a copy of one in
    // another segment.
    let is_copy = |read: &Read| matches!(read, Read::Damage(why) if why.ends_with("before"));
    let asked = if plain.iter().any(is_copy) {
        &[][..]
    } else {
        &[0, 1, 3]
    };
    for &n in asked {
        let mut reader = last_lines(&opened, n, &|_| true).expect("last lines");
        let last = all(&mut reader);
        let last: Vec<&Vec<u8>> = last.iter().filter_map(line_of).collect();
        assert_eq!(last, lines[lines.len().saturating_sub(n)..], "the last {n}");
    }
    drop(read_summary(&opened, JobScope::All).expect("a summary"));
    if !plain.iter().any(is_copy) {
        append(&volume, &opened, &plain);
    }
}

fn line_of(read: &Read) -> Option<&Vec<u8>> {
    match read {
        Read::Line(line) => Some(line),
        Read::Damage(_) => None,
    }
}

/// Returns the log that the bytes describe.
fn log_of(data: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    let mut seq: u64 = 0;
    for line in data.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match text {
            [b'+', step, body @ ..] => {
                seq = seq.saturating_add_signed(i64::from(*step as i8 >> 4));
                log.extend(framed(seq, body));
                seq += 1;
                log.extend(&line[text.len()..]);
            }
            _ => log.extend(line),
        }
    }
    log
}

/// Writes the log in segments, and returns the names of the sealed ones.
fn write(dir: &Path, log: &[u8], cuts: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = log;
    for (number, cut) in cuts.iter().enumerate() {
        // End a segment after a whole line.
        let lines = rest
            .split_inclusive(|b| *b == b'\n')
            .take(usize::from(*cut % 16));
        let len = lines.map(<[u8]>::len).sum();
        let (sealed, behind) = rest.split_at(len);
        if sealed.is_empty() {
            continue;
        }
        let first = if number == 0 { 0 } else { first_seq(sealed) };
        let name = format!("events-{first:020}.jsonl");
        fs::write(dir.join(&name), sealed).expect("a segment");
        if !names.contains(&name) {
            names.push(name);
        }
        rest = behind;
    }
    fs::write(dir.join("events.jsonl"), rest).expect("the active segment");
    names
}

/// Returns the number of the first event of runlog.
fn first_seq(log: &[u8]) -> u64 {
    let mut lines = log.split(|b| *b == b'\n');
    lines
        .find_map(|line| Some(Envelope::parse(line).ok()?.seq))
        .unwrap_or(0)
}

fn compress(path: &Path) {
    let plain = fs::read(path).expect("a segment");
    let mut to = path.as_os_str().to_owned();
    to.push(".gz");
    let file = fs::File::create(to).expect("a compressed segment");
    let mut gz = GzEncoder::new(file, Compression::fast());
    gz.write_all(&plain).expect("compressed");
    gz.finish().expect("compressed");
    fs::remove_file(path).expect("removed");
}

fn read(dir: &Dir) -> Vec<Read> {
    all(&mut Reader::open(dir).expect("a reader"))
}

fn all(reader: &mut Reader) -> Vec<Read> {
    let mut read = Vec::new();
    while let Some(item) = reader.next_item().expect("an item") {
        read.push(match item {
            Item::Event(_, line) | Item::Foreign(_, line) => Read::Line(line.to_vec()),
            // Omit the name of the file, which may have changed.
            Item::Dropped(gap) => Read::Damage(gap.to_string()),
            Item::Damage(d) => Read::Damage(format!("{} {} {}", d.line, d.offset, d.reason)),
        });
    }
    read
}

/// Asserts that a writer, unless it is refused, adds its event after all readable lines, and
/// that no readable line is lost.
fn append(volume: &Volume, dir: &Dir, before: &[Read]) {
    let run = "r".parse().expect("an id");
    let Ok(log) = RunLog::open(volume, &run) else {
        return;
    };
    let log = log.foreign_policy(ForeignPolicy::Accept);
    let note = Draft::note(&run, None, "n", &()).expect("a note");
    let Ok(_) = log.append(&[note], Durability::Process) else {
        return;
    };
    let after = read(dir);
    let before: Vec<_> = before.iter().filter_map(line_of).collect();
    let after: Vec<_> = after.iter().filter_map(line_of).collect();
    assert!(
        after.len() > before.len() && after.starts_with(&before),
        "an event was lost"
    );
    let last = after.last().expect("a line");
    let is_note = br#""type":"note""#;
    assert!(
        last.windows(is_note.len()).any(|at| at == is_note),
        "the note is not the last"
    );
}
