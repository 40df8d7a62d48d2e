//! `fixtures/runs/`: intact and damaged logs, and the faults that `replay --verify` reports for
//! each.
//!
//! The damaged logs are derived here from the intact ones, byte by byte. They are in the tree
//! because a log that was once written must remain readable. `RUNLOG_BLESS=1` writes missing
//! ones and never overwrites existing ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::env::TestEnv;

/// The files of a run by their path in its directory.
type Files = BTreeMap<String, Vec<u8>>;
type Harm = fn(&mut Files);

const FIRST: &str = "events-00000000000000000000.jsonl";
const FIRST_GZ: &str = "events-00000000000000000000.jsonl.gz";
const SECOND: &str = "events-00000000000000000005.jsonl";
const ACTIVE: &str = "events.jsonl";

/// How each damaged run is derived from an intact one.
const DAMAGES: &[(&str, &str, Harm)] = &[
    ("flipped-byte", "whole", |run| {
        let at = start_of(run, FIRST, 4) + 40;
        file(run, FIRST)[at] ^= 1;
    }),
    ("torn-tail", "whole", |run| cut(run, ACTIVE, 30)),
    ("missing-newline", "whole", |run| cut(run, ACTIVE, 1)),
    ("missing-line", "whole", |run| {
        change_lines(run, FIRST, |lines| drop(lines.remove(9)));
    }),
    ("copied-line", "whole", |run| {
        change_lines(run, ACTIVE, |lines| lines.push(lines[0].clone()));
    }),
    ("glued-line", "whole", |run| {
        change_lines(run, FIRST, |lines| {
            let half = lines[4].len() / 2;
            lines[4].truncate(half);
        });
    }),
    ("garbage-lines", "whole", |run| {
        change_lines(run, FIRST, |lines| {
            lines.insert(3, b"Segmentation fault (core dumped)\n".to_vec());
            lines.insert(4, b"\n".to_vec());
            lines.insert(5, b"\xff\xfe{\"v\":1\n".to_vec());
        });
    }),
    ("zeroed-tail", "whole", |run| {
        let at = start_of(run, ACTIVE, 1) + 100;
        file(run, ACTIVE)[at..].fill(0);
    }),
    ("newer-version", "whole", |run| {
        edit(run, FIRST, 16, "{\"v\":1,", "{\"v\":2,");
    }),
    ("unknown-type", "whole", |run| {
        edit(run, FIRST, 4, "\"type\":\"note\"", "\"type\":\"mark\"");
        edit(
            run,
            FIRST,
            16,
            "\"name\":\"reviewed\"",
            "\"new\":[\"reviewd\"]",
        );
    }),
    ("wrong-order", "whole", |run| {
        edit(run, FIRST, 3, "job_started", "job_sampled");
    }),
    ("wrong-checkpoint", "whole", |run| {
        edit(run, ACTIVE, 0, "\"jobs_failed\":1", "\"jobs_failed\":0");
    }),
    ("wrong-summary", "whole", |run| {
        edit(run, ACTIVE, 1, "\"jobs_failed\":1", "\"jobs_failed\":0");
    }),
    ("clock-back", "whole", |run| {
        edit(
            run,
            FIRST,
            16,
            "\"ts\":\"2026-11-22T01",
            "\"ts\":\"2026-11-21T01",
        );
    }),
    ("bad-time", "whole", |run| {
        edit(
            run,
            FIRST,
            16,
            "\"ts\":\"2026-11-22T01",
            "\"ts\":\"2026-13-22T01",
        );
    }),
    ("falling-id", "whole", |run| {
        edit(run, FIRST, 16, "\"id\":\"01", "\"id\":\"00");
    }),
    ("other-run", "whole", |run| {
        edit(
            run,
            FIRST,
            16,
            "\"run_id\":\"deploy-42\"",
            "\"run_id\":\"deploy-43\"",
        );
    }),
    ("line-of-omne", "whole", |run| {
        let line = concat!(
            r#"{"type":"gate.passed","id":"01m80eer4hqafrm0e6a1mx3yp7","ts":"2026-11-22T01:38:13Z","#,
            r#""run_id":"deploy-42","gate":"tests"}"#,
            "\n"
        );
        file(run, ACTIVE).extend_from_slice(line.as_bytes());
    }),
    ("output-lost", "whole", |run| {
        cut(run, "jobs/migrate.out", 10);
    }),
    ("output-gone", "whole", |run| {
        drop(run.remove("jobs/build.out"));
    }),
    ("output-unknown", "whole", |run| {
        let out = run["jobs/build.out"].clone();
        run.insert("jobs/ghost.out".to_owned(), out);
    }),
    ("index-zeroed", "whole", |run| {
        let index = file(run, "jobs/build.out.idx");
        let end = index.len() - 1;
        index[end - 10..end].fill(0);
    }),
    ("compressed-cut", "rotated", |run| cut(run, FIRST_GZ, 40)),
    ("half-compressed", "rotated", |run| {
        let half = run[FIRST_GZ][..100].to_vec();
        run.insert(format!("{SECOND}.gz"), half);
    }),
    ("hole", "rotated", |run| drop(run.remove(SECOND))),
    ("dropped", "rotated", |run| drop(run.remove(FIRST_GZ))),
    ("no-active", "rotated", |run| drop(run.remove(ACTIVE))),
    ("sealed-cut", "rotated", |run| {
        change_lines(run, SECOND, |lines| drop(lines.pop()));
    }),
    ("renamed-segment", "rotated", |run| {
        let segment = run.remove(SECOND).unwrap();
        run.insert("events-00000000000000000006.jsonl".to_owned(), segment);
    }),
];

fn file<'a>(run: &'a mut Files, name: &str) -> &'a mut Vec<u8> {
    run.get_mut(name).unwrap()
}

fn lines(run: &Files, name: &str) -> Vec<Vec<u8>> {
    let lines = run[name].split_inclusive(|b| *b == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

/// Returns the start of the n-th line, counted from 0.
fn start_of(run: &Files, name: &str, n: usize) -> usize {
    lines(run, name).iter().take(n).map(Vec::len).sum()
}

fn cut(run: &mut Files, name: &str, bytes: usize) {
    let file = file(run, name);
    file.truncate(file.len() - bytes);
}

fn change_lines(run: &mut Files, name: &str, change: impl Fn(&mut Vec<Vec<u8>>)) {
    let mut lines = lines(run, name);
    change(&mut lines);
    run.insert(name.to_owned(), lines.concat());
}

/// Changes an event and computes its checksum, like its writer.
fn edit(run: &mut Files, name: &str, n: usize, from: &str, to: &str) {
    change_lines(run, name, |lines| {
        let line = String::from_utf8(lines[n].clone()).unwrap();
        let checked = &line[..line.len() - 19];
        assert!(checked.contains(from), "{from} is not in {line}");
        let checked = checked.replacen(from, to, 1);
        let crc = crc32c::crc32c(checked.as_bytes());
        lines[n] = format!("{checked},\"crc\":\"{crc:08x}\"}}\n").into_bytes();
    });
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs")
}

fn load(name: &str) -> Files {
    let mut files = Files::new();
    let mut directories = vec![fixtures().join(name)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(fixtures().join(name)).unwrap();
                let name = name.to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn store(directory: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn damaged_fixtures_match_description() {
    for (name, from, harm) in DAMAGES {
        let mut files = load(from);
        harm(&mut files);
        let directory = fixtures().join(name);
        if std::env::var_os("RUNLOG_BLESS").is_some() && !directory.exists() {
            store(&directory, &files);
        }
        assert!(directory.exists(), "fixtures/runs/{name} is missing");
        assert!(load(name) == files, "fixtures/runs/{name} is another");
    }
}

/// Returns the rows of the table in the README: names and the kinds of faults.
fn rows() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(fixtures().join("../README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let kinds = cells[2].split(", ").filter(|kind| *kind != "–");
        let kinds = kinds.map(|kind| kind.trim_matches('`').to_owned());
        (cells[0].trim_matches('`').to_owned(), kinds.collect())
    })
    .collect()
}

#[test]
fn fixture_table_is_complete() {
    let directories = fs::read_dir(fixtures()).unwrap();
    let names: BTreeSet<String> = directories
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let rows: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(names, rows);
}

/// Creates a volume with a copy of each run.
fn volume() -> TestEnv {
    let env = TestEnv::new();
    for name in rows().keys() {
        store(&env.run_dir(name), &load(name));
    }
    env
}

#[test]
fn verify_finds_each_fault() {
    let env = volume();
    let mut wrong = Vec::new();
    for (name, expected) in rows() {
        let output = env.run(&["replay", &name, "--verify", "--json"]);
        let stdout = output.stdout();
        let faults = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let kinds: Vec<String> = faults
            .map(|fault: Value| fault["kind"].as_str().unwrap().to_owned())
            .collect();
        let code = if kinds.is_empty() { 0 } else { 5 };
        if kinds != expected || output.code != code {
            wrong.push(format!("{name}: exit {} {kinds:?}\n{stdout}", output.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn status_lists_damaged_runs() {
    let env = volume();
    for name in rows().keys() {
        for mode in [&[][..], &["--json"], &["--state"], &["--output"]] {
            let output = env.run(&[&["replay", name], mode].concat());
            assert!([0, 5].contains(&output.code), "{name}: {}", output.stderr());
            assert!(!output.stdout.is_empty() || mode == ["--output"], "{name}");
        }
        let status = env.status(name);
        assert_eq!(status["run_id"], name.as_str());
    }
}
