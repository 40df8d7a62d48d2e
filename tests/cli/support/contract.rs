//! Checks of every `runlog` that a test runs to its end: each line of `--json` output matches
//! `docs/schema/runlog.schema.json`, and the help documents the exit code.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::process::Command;
use std::sync::LazyLock;

use jsonschema::Validator;
use regex::Regex;
use serde_json::{Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../docs/schema/runlog.schema.json");
    serde_json::from_str(text).unwrap()
});

/// A validator for each kind of line that a command prints.
static VALIDATORS: LazyLock<HashMap<&'static str, Validator>> = LazyLock::new(|| {
    let kinds = SCHEMA["anyOf"].as_array().unwrap().iter();
    kinds
        .map(|kind| {
            let path = kind["$ref"].as_str().unwrap();
            let schema = json!({"$ref": path, "$defs": SCHEMA["$defs"]});
            let name = path.strip_prefix("#/$defs/").unwrap();
            (name, jsonschema::validator_for(&schema).unwrap())
        })
        .collect()
});

/// Runs in `fixtures/` with events that this version would not write: events of a later version,
/// and an impossible order.
const FOREIGN_EVENTS: [&str; 2] = [
    include_str!("../../../fixtures/runs/unknown-type/events-00000000000000000000.jsonl"),
    include_str!("../../../fixtures/runs/wrong-order/events-00000000000000000000.jsonl"),
];

/// The exit codes in the help of each command.
static CODES: LazyLock<HashMap<String, Vec<i32>>> = LazyLock::new(|| {
    let mut cli = runlog::cli::Cli::description();
    cli.build();
    let code = Regex::new(r"(?:^|[;:.]) (\d+) ").unwrap();
    cli.get_subcommands()
        .filter_map(|command| {
            let help = command.get_long_about()?.to_string();
            let (_, told) = help.split_once("Exit codes:")?;
            let codes = code.captures_iter(told);
            let codes = codes.map(|found| found[1].parse().unwrap()).collect();
            Some((command.get_name().to_owned(), codes))
        })
        .collect()
});

/// The properties that the command line of a `runlog` promises.
pub(crate) struct Promise {
    command: String,
    args: Vec<String>,
    /// The kind of each line on stdout, if it is JSON.
    lines: Option<&'static str>,
}

impl Promise {
    /// Returns the promise of a command that is about to start, or `None` if it is not `runlog`.
    pub(crate) fn new(command: &Command) -> Option<Self> {
        let runlog = OsStr::new(env!("CARGO_BIN_EXE_runlog"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let args: Vec<String> = words
            .skip_while(|word| *word != runlog)
            .skip(1)
            .take_while(|word| *word != "--")
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let command = args.iter().find(|arg| CODES.contains_key(*arg))?.clone();
        Some(Self {
            lines: lines_of(&command, &args),
            command,
            args,
        })
    }

    /// Panics if the promise is broken. `is_whole` says whether `stdout` is complete. If it is
    /// not, its lines are complete after the first `\n`.
    #[track_caller]
    pub(crate) fn check(&self, code: i32, stdout: &[u8], is_whole: bool) {
        // A signal killed the process.
        if code < 1000 && self.command != "run" {
            assert!(
                CODES[&self.command].contains(&code),
                "the help does not list exit code {code}: {:?}",
                self.args
            );
        }
        let Some(kind) = self.lines else { return };
        let mut lines = stdout.split_inclusive(|b| *b == b'\n');
        if !is_whole {
            lines.next();
        }
        for line in lines.filter(|line| line.ends_with(b"\n")) {
            // Stored lines are passed through unchanged.
            let text = String::from_utf8_lossy(line);
            if FOREIGN_EVENTS.iter().any(|log| log.contains(&*text)) {
                continue;
            }
            // A note may contain a number that is too large for a double but is valid JSON.
            if let Ok(value) = serde_json::from_slice(line) {
                self.check_line(kind, &value);
            } else {
                serde_json::from_slice::<&serde_json::value::RawValue>(line).unwrap();
            }
        }
    }

    #[track_caller]
    fn check_line(&self, kind: &str, line: &Value) {
        let mut errors = VALIDATORS[kind].iter_errors(line).peekable();
        if errors.peek().is_some() {
            let errors: Vec<_> = errors
                .map(|e| format!("{}: {e} ({})", e.instance_path(), e.schema_path()))
                .collect();
            panic!(
                "{:?} printed what docs/schema does not allow:\n{}\n{line}",
                self.args,
                errors.join("\n")
            );
        }
    }
}

/// Returns the schema definition of each line on stdout.
fn lines_of(command: &str, args: &[String]) -> Option<&'static str> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if !(has("--json") || command == "emit" && has("--ack")) {
        return None;
    }
    Some(match command {
        "status" if has("--stats") => "name_stats",
        "status" if has("--retired") => "retired_run",
        "status" => "run",
        "rotate" => "rotated",
        "gc" => "collected",
        "replay" if has("--state") && has("--at") => "past_run",
        "replay" if has("--state") => "run",
        "replay" if has("--verify") => "fault",
        "replay" if has("--diff") => "compared",
        "replay" if has("--recover") => "recovered",
        "replay" if has("--rollback") => "rolled_back",
        "tail" if has("--grep") => "found",
        "tail" | "replay" | "emit" => "line",
        _ => return None,
    })
}
