//! Checks the documents against the code. The command-line reference is generated.
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
mod format;
mod guide_commands;
mod guides;
mod json;
mod links;
mod notifications;
mod rooms;
mod shell_commands;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

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
    let mut cli = runlog::cli::Cli::description().term_width(80);
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
    page.push_str("\n## Environment\n\n| variable | meaning |\n| --- | --- |\n");
    for (names, meaning) in runlog::cli::environment::VARIABLES {
        let names = names.replace(", ", "`, `");
        writeln!(page, "| `{names}` | {} |", meaning.replace('*', "\\*")).unwrap();
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
