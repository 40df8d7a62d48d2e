//! Benchmarks of runlog against the minimum that the machine allows, and against its
//! predecessors.
//!
//! `cargo run --release --manifest-path tests/benches/Cargo.toml -- [ROW…] [--quick]` measures
//! all contenders in turn, round by round, in one run, and prints ratios of medians. Every
//! benchmark checks that its work was done, by counting the data on disk.

mod contenders;
mod context;
mod machine;
mod measure;
mod process;
mod report;
mod rows;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use context::Context;
use serve::Done;

/// Measure runlog against the machine's minimum and its predecessors.
#[derive(Parser)]
struct Args {
    /// The rows to measure [default: all]
    rows: Vec<u8>,
    /// Do less of everything, to check that a benchmark works
    #[arg(long)]
    quick: bool,
    /// Print one line of JSON for each comparison
    #[arg(long)]
    json: bool,
    /// Also write the results and the facts about the machine into a page
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The directory for the data, on a disk [default: next to the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve one contender instead, for the rows
    #[arg(long, num_args = 1.., hide = true)]
    serve: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.serve.as_slice() {
        [] => bench(&args),
        [what, rest @ ..] => contenders::serve(what, rest),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &Args) -> Done {
    let context = Context::new(args.quick, args.data.as_deref())?;
    let mut facts = machine::facts(context.data())?;
    let ticks = machine::ticks()?;
    let mut lines = Vec::new();
    for row in rows::all() {
        if !args.rows.is_empty() && !args.rows.contains(&row.number()) {
            continue;
        }
        eprintln!("{:>2} {} …", row.number(), row.work());
        let scratch = context.scratch(row.number())?;
        let found = row.measure(&context, &scratch)?;
        drop(scratch);
        context.settle()?;
        if !args.json {
            found
                .iter()
                .for_each(|line| println!("{}", report::text(row.number(), line)));
        } else {
            for line in &found {
                println!("{}", report::json(row.number(), line));
            }
        }
        lines.extend(found.into_iter().map(|line| (row.number(), line)));
    }
    facts.push(machine::stolen_since(ticks)?);
    if let Some(path) = &args.write {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let page = std::fs::read_to_string(path).unwrap_or_default();
        let page = report::page(&page, &lines, &facts, &command.join(" "));
        std::fs::write(path, page)?;
    }
    Ok(())
}
