//! `runlog tail`.

mod ack;
mod args;
mod cursor_store;
mod filter;
mod follow;
mod line_writer;
mod output;
mod output_lines;
mod output_runs;
mod poll;
mod run_output;
mod run_status;
mod search;
mod select;
mod start_point;
mod stdout_sink;
mod stop_reason;
mod unshown_runs;
mod until;

use anyhow::Result;

pub(crate) use self::args::Args;
use self::follow::Tailer;
use super::context::Global;
use super::exit::Code;
use super::value_parsers::deadline;

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    args.check()?;
    args.warn_unknown_types();
    if let Some(pattern) = &args.grep {
        return search::search(args, global, pattern);
    }
    let deadline = deadline(args.timeout);
    if args.prints_output_lines() {
        return output_runs::print_runs(args, global, deadline);
    }
    if args.output {
        let name = args.runs.first().map_or("latest", String::as_str);
        let (_, dir) = global.run(name)?;
        return output::output(args, global, dir, deadline);
    }
    Tailer::new(args, global, deadline)?.run()
}
