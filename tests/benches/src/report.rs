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

/// Returns the columns of a comparison.
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

/// Returns a line for people.
pub fn text(row: u8, line: &Line) -> String {
    let [row, what, ours, against, theirs, value, spread, target, met] = columns(row, line);
    format!(
        "{row:>2} {what:<46} {ours:>10} | {against:<26} {theirs:>10} | {value:>6} ({spread}) | {target:>9} | {met}"
    )
}

/// Returns a line for programs, with times in ns and rates in events or bytes per second.
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

/// The start of the results in the page; the rest of the page is handwritten.
const BEGIN: &str = "<!-- results: written by the benches -->\n";
const END: &str = "<!-- end of the results -->";

/// Returns `page` with new results: the command that made them, the machine, and the
/// comparisons.
pub fn page(
    page: &str,
    lines: &[(u8, Line)],
    facts: &[(String, String)],
    arguments: &str,
) -> String {
    let head = page.split_once(BEGIN).map_or(page, |(head, _)| head);
    let tail = page.split_once(END).map_or("\n", |(_, tail)| tail);
    let results = results(lines, facts, arguments);
    format!("{head}{BEGIN}{results}\n{END}{tail}")
}

fn results(lines: &[(u8, Line)], facts: &[(String, String)], arguments: &str) -> String {
    let mut text = String::from(
        "Made by\n\n```text\n\
         cargo run --release --manifest-path tests/benches/Cargo.toml -- ",
    );
    let _ = writeln!(text, "{arguments}\n```\n\non\n\n| | |\n| --- | --- |");
    for (name, value) in facts {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text.push_str(
        "\n| # | work | runlog | against | that | ratio | middle half | target | met |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (row, line) in lines {
        let _ = writeln!(text, "| {} |", columns(*row, line).join(" | "));
    }
    text
}
