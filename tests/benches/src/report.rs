//! Results as text, JSON Lines, and the page of the docs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measure::{Figure, Line, Target};

fn met(line: &Line) -> &'static str {
    match line.met() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "–",
    }
}

fn target(line: &Line) -> String {
    let value = |limit| match line.theirs {
        Some(_) => ratio(limit),
        None => Figure(limit, line.ours.1).to_string(),
    };
    match line.target {
        Target::AtMost(limit) => format!("≤ {}", value(limit)),
        Target::AtLeast(limit) => format!("≥ {}", value(limit)),
        Target::None => "–".to_owned(),
    }
}

fn ratio(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// The columns of a comparison.
fn columns(row: u8, line: &Line) -> [String; 9] {
    let spread = line
        .spread
        .map(|(low, high)| format!("{}–{}", ratio(low), ratio(high)));
    let theirs = line.theirs.map(|f| f.to_string());
    let value = line.theirs.map(|_| ratio(line.value));
    let dash = || "–".to_owned();
    [
        row.to_string(),
        line.what.clone(),
        line.ours.to_string(),
        line.against.clone(),
        theirs.unwrap_or_else(dash),
        value.unwrap_or_else(dash),
        spread.unwrap_or_else(dash),
        target(line),
        met(line).to_owned(),
    ]
}

/// A line for people.
pub fn text(row: u8, line: &Line) -> String {
    let [row, what, ours, against, theirs, value, spread, target, met] = columns(row, line);
    format!(
        "{row:>2} {what:<46} {ours:>10} | {against:<26} {theirs:>10} | {value:>6} ({spread}) | {target:>9} | {met}"
    )
}

/// A line for programs: times in ns, rates in events or bytes a second.
pub fn json(row: u8, line: &Line) -> Value {
    let (at_most, at_least) = match line.target {
        Target::AtMost(limit) => (Some(limit), None),
        Target::AtLeast(limit) => (None, Some(limit)),
        Target::None => (None, None),
    };
    json!({
        "row": row, "work": line.what, "runlog": line.ours.0,
        "against": line.theirs.map(|_| &line.against), "peer": line.theirs.map(|f| f.0),
        "value": line.value, "middle_half": line.spread,
        "at_most": at_most, "at_least": at_least, "met": line.met(),
    })
}

/// The page: how it was made, on what, and what was found.
pub fn page(lines: &[(u8, Line)], facts: &[(String, String)], arguments: &str) -> String {
    let mut page = String::from(
        "# Performance\n\n\
         Written by the benches: do not edit it. Made by\n\n```text\n\
         cargo run --release --manifest-path tests/benches/Cargo.toml -- ",
    );
    let _ = writeln!(page, "{arguments}\n```\n\non\n\n| | |\n| --- | --- |");
    for (name, value) in facts {
        let _ = writeln!(page, "| {name} | {value} |");
    }
    page.push_str(NOTES);
    page.push_str(
        "\n| # | work | runlog | against | that | ratio | middle half | target | met |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (row, line) in lines {
        let _ = writeln!(page, "| {} |", columns(*row, line).join(" | "));
    }
    page
}

const NOTES: &str = "
How it is measured: every contender runs in a process of its own, in the same run, in
turn, round by round; durable appends of one process in lockstep. A ratio is one of
medians over the rounds (at least 7), and *middle half* is where the middle half of the
ratios of single rounds lies: on a machine that does other things too it tells how far
to trust the ratio. The parents are the released crates, built with the same profile.
Events are lines of 388 bytes. Each bench counts afterwards what is on disk.
";
