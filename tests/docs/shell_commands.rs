//! The commands that the pages show can be run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{commands, pages, read, split};

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
                let told = runlog::cli::Cli::description().try_get_matches_from(words);
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
pub(crate) fn sample_volume() -> tempfile::TempDir {
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
    let script = "runlog emit progress percent=50
        until grep -q '\"type\":\"job_sampled\"' .omne/var/runs/nightly-*/events.jsonl; do
            sleep 0.01
        done
        exit 3";
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

pub(crate) fn shell(dir: &Path, line: &str) -> Output {
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
    let ship = "runlog tail --all --json --cursor-file ship.cursors >ship.jsonl";
    assert!(shell(volume.path(), ship).status.success());
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
