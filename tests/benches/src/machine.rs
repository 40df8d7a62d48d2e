//! The machine on which the figures were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::serve::Done;

/// Returns facts about the machine, as names and values.
pub fn facts(data: &Path) -> Done<Vec<(String, String)>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism()?.to_string();
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let facts = [
        ("processor", format!("{cpu}, {cores} cores")),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("file system of the data", file_system(data)),
        ("load before", read("/proc/loadavg").trim().to_owned()),
        ("compiler", first_line("rustc", &["--version"])),
        ("runlog", describe()),
        ("jq, tail, gzip, rg", versions()),
        ("program", size_of_program()?),
    ];
    Ok(facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

/// Returns the ticks that the processors have spent so far: all of them, and those that the host
/// used for others (steal, `proc_stat(5)`).
pub fn ticks() -> Done<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    Ok((ticks.iter().sum(), ticks.last().copied().unwrap_or(0)))
}

/// Returns the share of the processors that the host has withheld since `before`, which affects
/// the figures.
pub fn stolen_since(before: (u64, u64)) -> Done<(String, String)> {
    let now = ticks()?;
    let (all, stolen) = (now.0 - before.0, now.1 - before.1);
    let percent = 100.0 * stolen as f64 / all.max(1) as f64;
    let name = "kept by the host for others meanwhile".to_owned();
    Ok((name, format!("{percent:.1} % of the processors")))
}

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

fn versions() -> String {
    let of = |program| first_line(program, &["--version"]);
    [of("jq"), of("tail"), of("gzip"), of("rg")].join("; ")
}

/// Returns the commit of the work tree.
fn describe() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    first_line("git", &["-C", root, "describe", "--always", "--dirty"])
}

fn file_system(data: &Path) -> String {
    let data = data.to_string_lossy().into_owned();
    let output = Command::new("df")
        .args(["--output=fstype,source", &data])
        .output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let text = text.unwrap_or_default();
    let found = text.lines().nth(1).unwrap_or("unknown");
    found.split_whitespace().collect::<Vec<_>>().join(" on ")
}

fn size_of_program() -> Done<String> {
    let bench = std::env::current_exe()?;
    let size = fs::metadata(bench.with_file_name("runlog"))?.len();
    let mb = size as f64 / 1e6;
    Ok(format!("{mb:.1} MB, thin LTO, with symbols"))
}
