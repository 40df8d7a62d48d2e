//! `--export html`: all selected runs on one page and, with `--with-runs`, a page for each.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::args::Args;
use crate::cli::atomic_output::AtomicOutput;
use crate::cli::context::{Global, print_stderr};
use crate::cli::replay::export::export_with_output;
use crate::job::{RunStatus, TypicalDurations};
use crate::log::open_dir;
use crate::render::RunRecord;
use crate::render::export::html::Html;
use crate::render::export::{RunsPage, write_runs_page};
use crate::volume::Volume;

/// Writes the page of these runs to `out`, after the pages that it links to.
pub(super) fn write_pages(
    args: &Args,
    global: &Global,
    out: &mut AtomicOutput,
    runs: &[RunRecord],
) -> Result<()> {
    let volume = global.volume()?;
    let links = match &args.with_runs {
        None => None,
        Some(dir) => {
            write_run_pages(&volume, global, dir, runs)?;
            Some(link_prefix(args.out.as_deref(), dir)?)
        }
    };
    let page = RunsPage {
        title: volume.path().display().to_string(),
        now: Timestamp::now(),
        links,
    };
    out.with(|out| write_runs_page(out, &page, runs))
}

/// Writes `DIR/<run>.html` for each run. A run that cannot be read does not stop the others.
fn write_run_pages(volume: &Volume, global: &Global, dir: &Path, runs: &[RunRecord]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let Some(stored) = volume.runs()? else {
        return Ok(());
    };
    // Runs come oldest first, so `durations` covers the runs before each one.
    let mut durations = TypicalDurations::default();
    let mut peaks = TypicalDurations::default();
    for run in runs {
        let mut usual = durations.usual(&run.name);
        if let Some(usual) = &mut usual {
            usual.max_rss_p50_bytes = peaks.typical(&run.name);
        }
        if let (RunStatus::Completed, Some(id), Some(ms)) =
            (run.state, run.first_id, run.duration_ms)
        {
            durations.record(&run.name, id, ms);
            if let Some(peak) = run.max_rss_bytes() {
                peaks.record(&run.name, id, peak);
            }
        }
        // A run that gc has removed has no page.
        let Some(run_dir) = open_dir(&stored, &run.run_id)? else {
            continue;
        };
        let path = dir.join(format!("{}.html", run.run_id));
        let mut page = AtomicOutput::create(Some(&path), global)?;
        let html = &mut Html::default();
        match export_with_output(&run_dir, &run.run_id, usual, html, &mut page) {
            Ok(_) => page.finish()?,
            Err(e) => print_stderr(format_args!("warning: run {}: {e:#}", run.run_id)),
        }
    }
    Ok(())
}

/// Returns the prefix of links from the page at `out` to files in `dir`: relative if `dir` is
/// below the directory of the page, so that both can be moved together.
fn link_prefix(out: Option<&Path>, dir: &Path) -> Result<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()))
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
