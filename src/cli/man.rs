//! `runlog man`: the manual pages, made from the same text as `--help`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::exit::Code;
use super::{environment, exit_status};

/// Write the manual pages to a directory, which is created if needed
///
/// Exit codes: 0 success; 2 invalid arguments; 7 I/O error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory for the pages
    dir: PathBuf,
}

pub(crate) fn execute(args: &Args) -> Result<Code> {
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot create `{}`", args.dir.display()))?;
    let mut cli = crate::cli::Cli::description().disable_help_subcommand(true);
    cli.build();
    for (name, page) in pages(&cli)? {
        write(&args.dir.join(name), &page)?;
    }
    Ok(Code::Ok)
}

fn write(path: &Path, page: &[u8]) -> Result<()> {
    fs::write(path, page).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Returns the file name and the content of each page.
fn pages(cli: &Command) -> Result<Vec<(String, Vec<u8>)>> {
    let typed: Vec<&Command> = cli.get_subcommands().filter(|c| !c.is_hide_set()).collect();
    let names: Vec<String> = typed.iter().map(|command| name_of(command)).collect();
    let mut pages = vec![page(cli.clone(), &names, PageKind::Main)?];
    for command in typed {
        let others = ["runlog".to_owned()];
        pages.push(page(command.clone(), &others, PageKind::Subcommand)?);
    }
    Ok(pages)
}

fn name_of(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

/// The subject of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageKind {
    /// The program.
    Main,
    /// One of its commands.
    Subcommand,
}

fn page(command: Command, see_also: &[String], kind: PageKind) -> Result<(String, Vec<u8>)> {
    let name = name_of(&command);
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let (about, codes) = match about.split_once("Exit codes:") {
        Some((about, codes)) => (about.trim_end().to_owned(), Some(codes.to_owned())),
        None => (about, None),
    };
    // clap_mangen's own synopsis omits the values of options and the `…` of what may be repeated.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let command = command.override_usage(usage).long_about(about);
    let examples = command.get_before_long_help().map(ToString::to_string);
    let man = Man::new(command);
    let mut out = Vec::new();
    // clap_mangen's own title drops the empty date, which shifts the other fields. The date
    // is empty so that the same program always generates the same page.
    let version = env!("CARGO_PKG_VERSION");
    let title = name.to_uppercase();
    writeln!(
        out,
        ".TH \"{title}\" 1 \"\" \"runlog {version}\" \"runlog\""
    )?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    if let Some(examples) = &examples {
        let mut leading = Roff::new();
        leading.control("SH", ["EXAMPLES"]);
        leading.control("nf", []);
        for line in examples.lines().skip(1) {
            leading.text([roman(line.trim_start())]);
        }
        leading.control("fi", []);
        leading.to_writer(&mut out)?;
    }
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if kind == PageKind::Main {
        man.render_subcommands_section(&mut out)?;
    }
    let mut rest = Roff::new();
    match kind {
        PageKind::Main => {
            let codes = Code::ALL.map(|code| ((code as u8).to_string(), code.meaning().to_owned()));
            list(&mut rest, "EXIT STATUS", &codes);
            environment_and_files(&mut rest);
        }
        PageKind::Subcommand => {
            let codes = exit_status::rows(&codes.unwrap_or_default());
            list(&mut rest, "EXIT STATUS", &codes);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    let mut links: Vec<Inline> = Vec::new();
    for other in see_also {
        if !links.is_empty() {
            links.push(roman(", "));
        }
        links.extend([bold(other), roman("(1)")]);
    }
    rest.text(links);
    rest.to_writer(&mut out)?;
    Ok((format!("{name}.1"), out))
}

/// Adds a section with a list of names and their meanings.
fn list<T: AsRef<str>>(roff: &mut Roff, heading: &str, entries: &[(T, T)]) {
    roff.control("SH", [heading]);
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([italic(name.as_ref())]);
        roff.text([roman(meaning.as_ref())]);
    }
}

/// Adds the sections of the main page that `--help` does not have.
fn environment_and_files(roff: &mut Roff) {
    list(roff, "ENVIRONMENT", &environment::VARIABLES);
    list(
        roff,
        "FILES",
        &[
            (
                ".omne/var/runs/",
                "The runs of a volume, one directory each.",
            ),
            (
                ".omne/var/retired.jsonl",
                "One line for each run that runlog gc removed.",
            ),
            (
                ".omne/lib/cfg/runlog.toml",
                "Settings of a volume: run, rotate, gc, hooks, redact, probes, and the mode of files.",
            ),
            (
                "~/.config/runlog/config.toml",
                "Settings of a user: run, hooks and probes. Below $XDG_CONFIG_HOME if that is set.",
            ),
        ],
    );
}
