//! `--export html`: all selected runs on one page and, with `--with-runs`, a page for each.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

use super::args::Args;
use crate::cli::atomic_output::AtomicOutput;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::replay::export::export_with_output;
use crate::cli::usage_error::UsageError;
use crate::job::{RunStatus, TypicalDurations, UsualDuration};
use crate::log::open_dir;
use crate::render::RunRecord;
use crate::render::export::html::Html;
use crate::render::export::{RunsPage, write_runs_page};
use crate::volume::{Dir, RunId, Volume, wall_clock};

/// Writes the page of these runs to `out`, after the pages that it links to. Returns an error code
/// if one of those could not be written.
pub(super) fn write_pages(
    args: &Args,
    global: &Global,
    out: &mut AtomicOutput,
    runs: &[RunRecord],
) -> Result<Code> {
    let volume = global.volume()?;
    let mut code = Code::Ok;
    let mut unlinked = Vec::new();
    let links = match &args.with_runs {
        None => None,
        Some(dir) => {
            (unlinked, code) = write_run_pages(&volume, global, dir, runs)?;
            Some(link_prefix(args.out.as_deref(), dir)?)
        }
    };
    let page = RunsPage {
        title: volume.path().display().to_string(),
        now: wall_clock(),
        links,
        unlinked,
    };
    out.with(|out| write_runs_page(out, &page, runs))?;
    Ok(code)
}

/// Writes `DIR/<run>.html` for each run, and returns the runs without a page. A page that cannot
/// be written does not stop the others.
fn write_run_pages(
    volume: &Volume,
    global: &Global,
    dir: &Path,
    runs: &[RunRecord],
) -> Result<(Vec<RunId>, Code)> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    let stored = volume.runs()?;
    let mut without_page = Vec::new();
    let mut code = Code::Ok;
    // Runs come oldest first, so `durations` covers the runs before each one.
    let mut durations = TypicalDurations::default();
    let mut peaks = TypicalDurations::default();
    for run in runs {
        let mut usual = durations.usual_duration(&run.name);
        if let Some(usual) = &mut usual {
            usual.max_rss_p50_bytes = peaks.median(&run.name);
        }
        if let (RunStatus::Completed, Some(id), Some(ms)) =
            (run.state, run.first_id, run.duration_ms)
        {
            durations.record(&run.name, id, ms);
            if let Some(peak) = run.max_rss_bytes() {
                peaks.record(&run.name, id, peak);
            }
        }
        let written = match &stored {
            Some(stored) => write_run_page(stored, global, dir, &run.run_id, usual),
            None => Ok(false),
        };
        match written {
            Ok(true) => {}
            Ok(false) => without_page.push(run.run_id.clone()),
            // DIR itself is wrong.
            Err(e) if e.is::<UsageError>() => return Err(e),
            Err(e) => {
                print_stderr(format_args!("warning: run {}: {e:#}", run.run_id));
                code = Code::Io;
                without_page.push(run.run_id.clone());
            }
        }
    }
    Ok((without_page, code))
}

/// Writes the page of a run; returns whether gc has not removed the run.
fn write_run_page(
    stored: &Dir,
    global: &Global,
    dir: &Path,
    run: &RunId,
    usual: Option<UsualDuration>,
) -> Result<bool> {
    let Some(run_dir) = open_dir(stored, run)? else {
        return Ok(false);
    };
    let path = dir.join(format!("{run}.html"));
    let mut page = AtomicOutput::create(Some(&path), global)?;
    export_with_output(&run_dir, run, usual, &mut Html::default(), &mut page)?;
    page.finish()?;
    Ok(true)
}

/// Returns the prefix of links from the page at `out` to files in `dir`: relative if `dir` is
/// below the directory of the page, so that both can be moved together.
fn link_prefix(out: Option<&Path>, dir: &Path) -> Result<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve `{}`", path.display()))
    };
    let page = absolute(out.unwrap_or(Path::new("-")))?;
    let dir = absolute(dir)?;
    let base = page.parent().unwrap_or(Path::new("/"));
    let relative: PathBuf = match dir.strip_prefix(base) {
        Ok(relative) => relative.to_owned(),
        Err(_) => dir,
    };
    let mut prefix = String::new();
    for component in relative.components() {
        match component {
            Component::RootDir => prefix.push_str("file:///"),
            Component::Normal(name) => {
                percent_encode(&mut prefix, &name.to_string_lossy());
                prefix.push('/');
            }
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {}
        }
    }
    Ok(prefix)
}

/// Appends a part of a path, encoded as in RFC 3986 (section 2.1).
fn percent_encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                url.push(digit.to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_below_page() {
        let prefix = |out, dir| link_prefix(Some(Path::new(out)), Path::new(dir)).unwrap();
        assert_eq!(prefix("/srv/index.html", "/srv/my runs"), "my%20runs/");
        assert_eq!(prefix("/srv/index.html", "/srv"), "");
        assert_eq!(prefix("/srv/index.html", "/var/runs"), "file:///var/runs/");
        assert_eq!(prefix("index.html", "runs"), "runs/");
    }
}
