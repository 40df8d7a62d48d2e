//! Checks the documents against the code: the command-line reference is generated, and commands,
//! links, event types and sample lines are checked.
//!
//! `RUNLOG_BLESS=1 cargo test --test docs` rewrites the generated pages.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy treats test helpers as production code"
)]

mod examples;
mod exit_codes;
mod guides;
mod json;
mod notifications;
mod rooms;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::CommandFactory as _;
use runlog::log::{EventType, Item, Reader};
use serde_json::Value;

/// The fields of an event that contain a snapshot.
const SNAPSHOTS: [&str; 4] = [
    "telemetry_before",
    "telemetry_after",
    "process_before",
    "process_after",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("cannot read {name}: {e}"))
}

/// Returns README.md, CHANGELOG.md and all pages in docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut directories = vec![root().join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|ext| ext == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// A fenced block: its heading, its language, and its text.
struct Block {
    heading: String,
    language: String,
    text: String,
}

/// Splits a page into its fenced blocks and the text around them.
fn split(page: &str) -> (Vec<Block>, String) {
    let mut blocks: Vec<Block> = Vec::new();
    let mut prose = String::new();
    let mut heading = String::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block {
                    heading: heading.clone(),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
        } else if inside {
            let block = blocks.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        } else {
            if line.starts_with('#') {
                line.trim_start_matches(['#', ' ']).clone_into(&mut heading);
            }
            prose.push_str(line);
            prose.push('\n');
        }
    }
    assert!(!inside, "a fenced block has no end");
    (blocks, prose)
}

/// Returns the commands in a shell block, without comments and output, continued lines joined.
fn commands(block: &Block) -> Vec<String> {
    let text = block.text.replace("\\\n", " ");
    let lines = text.lines().map(str::trim_end);
    match block.language.as_str() {
        "console" => lines
            .filter_map(|line| line.strip_prefix("$ ").map(str::to_owned))
            .collect(),
        "sh" => lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[test]
fn cli_reference_is_up_to_date() {
    let mut cli = runlog::cli::Cli::command().term_width(80);
    cli.build();
    let mut page = String::from(
        "# The command line\n\n\
         Generated from the program's own help: do not edit it.\n\
         `RUNLOG_BLESS=1 cargo test --test docs` rewrites it.\n",
    );
    let mut add = |title: &str, command: &mut clap::Command| {
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let help = lines.join("\n");
        write!(
            page,
            "\n## `{title}`\n\n```text\n{}\n```\n",
            help.trim_end()
        )
        .unwrap();
    };
    add("runlog", &mut cli);
    let commands = cli.get_subcommands_mut();
    for command in commands.filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
        let title = format!("runlog {}", command.get_name());
        let mut command = command.clone().bin_name(&title).term_width(80);
        add(&title, &mut command);
    }
    check_or_bless("docs/cli.md", &page);
}

/// Checks that a generated page is up to date, or writes it with `RUNLOG_BLESS`.
fn check_or_bless(name: &str, page: &str) {
    let path = root().join(name);
    if std::env::var_os("RUNLOG_BLESS").is_some() {
        fs::write(path, page).unwrap();
        return;
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    let first = stored
        .lines()
        .zip(page.lines())
        .position(|(stored, now)| stored != now)
        .unwrap_or_else(|| stored.lines().count().min(page.lines().count()));
    assert!(
        stored == page,
        "{name} is out of date from line {} on; \
         RUNLOG_BLESS=1 cargo test --test docs rewrites it",
        first + 1
    );
}

#[test]
fn links_resolve() {
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let (_, prose) = split(&page);
        for target in links(&prose) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(
                file.exists(),
                "{}: the link to {target} leads nowhere",
                path.display()
            );
            if !anchor.is_empty() {
                let page = fs::read_to_string(&file).unwrap();
                assert!(
                    anchors(&page).contains(anchor),
                    "{}: the link to {target} leads to no heading",
                    path.display()
                );
            }
        }
    }
}

/// Returns the targets of the links in a text, except for those in code.
fn links(prose: &str) -> Vec<String> {
    let text: String = prose.split('`').step_by(2).collect();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Returns the anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = split(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| anchor(heading.trim_start_matches(['#', ' '])))
        .collect()
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn shown_commands_parse() {
    let mut seen = 0;
    for path in pages() {
        let (blocks, _) = split(&fs::read_to_string(&path).unwrap());
        for command in blocks.iter().flat_map(commands) {
            for words in simple_commands(&command) {
                let Some(at) = words.iter().position(|word| word == "runlog") else {
                    continue;
                };
                seen += 1;
                let words = words.get(at..).unwrap();
                let told = runlog::cli::Cli::command().try_get_matches_from(words);
                if let Err(e) = told
                    && e.use_stderr()
                {
                    panic!("{}: {command}\n{e}", path.display());
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

/// Returns the words of each simple command in a line of shell. Supports only the syntax of the
/// pages.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '|' | '&' | ';' | '(' | ')' | '<' | '>') => {
                found.last_mut().unwrap().extend(word.take());
                if matches!(c, '|' | '&' | ';' | '(' | ')') {
                    found.push(Vec::new());
                } else if c != ' ' && found.last().unwrap().last().is_none_or(|w| w != ">") {
                    // A redirection is followed by a file, not an argument. `>>` counts once.
                    found.last_mut().unwrap().push(c.to_string());
                }
            }
            // A comment.
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    found.last_mut().unwrap().extend(word);
    for words in &mut found {
        while let Some(at) = words.iter().position(|w| w == "<" || w == ">") {
            words.drain(at..words.len().min(at + 2));
        }
    }
    found
}

/// Creates a volume with runs of every kind, using the program itself.
fn sample_volume() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let runlog = |args: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runlog"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RUNLOG_") {
                command.env_remove(name);
            }
        }
        // Ignore a volume in a parent directory.
        command.env("RUNLOG_VOLUME", dir.path());
        command.current_dir(&dir).args(args).output().unwrap()
    };
    let ok = |args: &[&str]| {
        let done = runlog(args);
        assert!(done.status.success(), "{args:?}: {done:?}");
    };
    ok(&["run", "--label", "team=infra", "--", "echo", "hello"]);
    ok(&["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    ok(&["emit", "--run", "deploy", "--open", "begun", "stage=1"]);
    ok(&["run", "--run", "deploy", "--close", "--", "true"]);
    ok(&["run", "--again", "deploy"]);
    let failed = runlog(&[
        "run",
        "--retries",
        "1",
        "--retry-delay",
        "1ms",
        "--",
        "false",
    ]);
    assert_eq!(failed.status.code(), Some(1));
    // The newest run has an event of each type that a job can have.
    let script = "runlog emit progress percent=50; sleep 0.3; exit 3";
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_runlog"))
            .parent()
            .unwrap()
            .display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let set_path = format!("PATH={path}");
    let failed = runlog(&[
        "run",
        "--name",
        "nightly",
        "--sample",
        "50ms",
        "--on-end",
        "true",
        "--rollback",
        "echo undone",
        "--timeout",
        "1m",
        "--env",
        &set_path,
        "--input",
        "src=main",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    dir
}

fn shell(dir: &Path, line: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_runlog")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("sh")
        .args(["-c", line])
        .current_dir(dir)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("RUNLOG_VOLUME", dir)
        .output()
        .unwrap()
}

#[test]
fn jq_recipes_work() {
    if Command::new("jq").arg("--version").output().is_err() {
        println!("skipped: the recipes need jq, which is not installed");
        return;
    }
    let volume = sample_volume();
    let readme = split(&read("README.md")).0;
    let in_readme = readme.iter().filter(|block| block.heading.contains("jq"));
    let page = split(&read("docs/recipes.md")).0;
    let recipes: Vec<String> = in_readme
        .chain(&page)
        .filter(|block| block.language == "sh")
        .flat_map(commands)
        .collect();
    assert!(recipes.len() >= 20, "only {} recipes", recipes.len());
    for recipe in recipes {
        let done = shell(volume.path(), &recipe);
        assert!(
            done.status.success() && done.stderr.is_empty() && !done.stdout.is_empty(),
            "{recipe}\n{done:?}"
        );
    }
}

fn event_types() -> BTreeSet<String> {
    let names = EventType::ALL.iter().map(|kind| kind.as_str().to_owned());
    names.collect()
}

/// Returns the headings of docs/format.md that name an event type, with the text below each.
fn documented_types() -> Vec<(String, String)> {
    let page = read("docs/format.md");
    let (_, types) = page.split_once("\n## Event types\n").unwrap();
    let types = types.split("\n## ").next().unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for line in types.lines() {
        if let Some(name) = line.strip_prefix("### `") {
            found.push((name.trim_end_matches('`').to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

#[test]
fn every_event_type_is_documented() {
    let documented: BTreeSet<String> = documented_types().into_iter().map(|(n, _)| n).collect();
    assert_eq!(documented, event_types(), "docs/format.md, “Event types”");
}

/// Returns the lines of docs/example-run, oldest first.
fn example_lines() -> Vec<String> {
    let run = root().join("docs/example-run");
    let files = ["events-00000000000000000000.jsonl", "events.jsonl"];
    let texts = files.map(|file| fs::read_to_string(run.join(file)).unwrap());
    texts.concat().lines().map(str::to_owned).collect()
}

#[test]
fn example_run_is_valid_and_has_every_type() {
    let dir = runlog::volume::Dir::open(&root().join("docs/example-run")).unwrap();
    let mut reader = Reader::open(&dir).unwrap();
    let mut seen = BTreeSet::new();
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Event(envelope, _) => seen.insert(envelope.kind.to_string()),
            other => panic!("docs/example-run: {other:?}"),
        };
    }
    assert_eq!(seen, event_types());
}

#[test]
fn sample_lines_match_example_run() {
    let lines = example_lines();
    let shown: Vec<String> = lines.iter().map(|line| without_snapshots(line)).collect();
    for (kind, text) in documented_types() {
        let (blocks, _) = split(&text);
        let samples: Vec<&Block> = blocks.iter().filter(|b| b.language == "json").collect();
        assert!(!samples.is_empty(), "{kind} has no sample line");
        for sample in samples {
            let sample = sample.text.trim_end();
            let known = shown.iter().any(|line| line == sample);
            assert!(
                known && sample.contains(&format!(r#""type":"{kind}""#)),
                "docs/format.md: the sample of {kind} is not a line of docs/example-run"
            );
        }
    }
    let page = read("docs/format.md");
    let (blocks, _) = split(&page);
    let whole = blocks
        .iter()
        .filter(|b| b.heading == "The checksum" && b.language == "json");
    for block in whole {
        assert!(lines.iter().any(|line| line == block.text.trim_end()));
    }
}

/// Returns a line with `{…}` in place of its snapshots.
fn without_snapshots(line: &str) -> String {
    let mut line = line.to_owned();
    for key in SNAPSHOTS {
        let Some((before, rest)) = line.split_once(&format!("\"{key}\":{{")) else {
            continue;
        };
        let mut depth = 1_usize;
        let end = rest.char_indices().find(|(_, c)| {
            depth = match c {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        let after = rest.get(end.unwrap().0..).unwrap();
        line = format!("{before}\"{key}\":{{…{after}");
    }
    line
}

/// Returns the fields in the first column of a table.
fn documented_fields(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn every_written_field_is_documented() {
    let page = read("docs/format.md");
    let volume = sample_volume();
    // Fields that the page describes once for all types.
    let common = [
        "v", "seq", "id", "ts", "type", "run_id", "job_id", "jobs", "crc",
    ];
    let types = documented_types();
    let mut seen = BTreeSet::new();
    let runs = volume.path().join(".omne/var/runs");
    for run in fs::read_dir(runs).unwrap() {
        let log = fs::read_to_string(run.unwrap().path().join("events.jsonl")).unwrap();
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let event = event.as_object().unwrap();
            let kind = event.get("type").and_then(Value::as_str).unwrap();
            seen.insert(kind.to_owned());
            let (_, text) = types.iter().find(|(name, _)| name == kind).unwrap();
            let fields = documented_fields(text);
            for key in event.keys().map(String::as_str) {
                assert!(
                    common.contains(&key) || SNAPSHOTS.contains(&key) || fields.contains(key),
                    "docs/format.md does not describe {key} in {kind}"
                );
            }
            let values = Value::Object(event.clone());
            for key in nested_keys(&values) {
                assert!(
                    page.contains(&format!("`{key}`")) || kind == "note",
                    "docs/format.md does not describe {key}, which is inside of {kind}"
                );
            }
        }
    }
    // A rotation and a repair need more than one run.
    let mut rest = event_types();
    rest.retain(|kind| !seen.contains(kind));
    assert_eq!(
        rest.into_iter().collect::<Vec<_>>(),
        ["log_repaired", "log_rotated", "supervisor_replaced"]
    );
}

/// Returns the keys of all objects in a value, except for those that users choose.
fn nested_keys(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let mut keys = Vec::new();
            for (key, value) in object {
                keys.push(key.clone());
                if !matches!(key.as_str(), "labels" | "inputs" | "env") {
                    keys.extend(nested_keys(value));
                }
            }
            keys
        }
        Value::Array(values) => values.iter().flat_map(nested_keys).collect(),
        _ => Vec::new(),
    }
}
