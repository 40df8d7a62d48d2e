//! The flags of `runlog run` about what a command gets as its stdout and stderr.

use clap::ValueEnum;

use crate::job::{OutputDelivery, StreamLayout, StreamPlan, TerminalUse};

/// The flags.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamArgs {
    /// Whether the command gets a pseudo-terminal, so that it prints colors and progress bars. In it,
    /// an interactive shell has no job control. If sudoers has `use_pty`, what sudo prints in a script is
    /// stored only with `never`
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    tty: Tty,
    /// Whether the stdout and stderr of the command share a pipe, which keeps their order
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Output"
    )]
    streams: Streams,
}

/// Whether the command gets a pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tty {
    /// For a stream that is passed on to a terminal
    Auto,
    /// Even if its output goes elsewhere
    Always,
    /// Never; it gets pipes
    Never,
}

/// Whether the stdout and stderr of the command share a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Streams {
    /// If those of runlog are the same open file
    Auto,
    /// Never; each is stored and passed on separately
    Apart,
    /// Always; both are passed on to stdout
    Merged,
}

impl StreamArgs {
    /// Returns whether the user decided if the command gets a pseudo-terminal.
    pub(super) fn sets_terminal(&self) -> bool {
        self.tty != Tty::Auto
    }

    /// Returns whether the user decided if the streams share a pipe.
    pub(super) fn sets_layout(&self) -> bool {
        self.streams != Streams::Auto
    }

    /// Returns the streams of a job.
    pub(super) fn plan(&self, delivery: OutputDelivery) -> StreamPlan {
        let layout = match self.streams {
            Streams::Auto => StreamLayout::Auto,
            Streams::Apart => StreamLayout::Apart,
            Streams::Merged => StreamLayout::Merged,
        };
        let tty = match self.tty {
            Tty::Auto => TerminalUse::Auto,
            Tty::Always => TerminalUse::Always,
            Tty::Never => TerminalUse::Never,
        };
        StreamPlan::new(layout, tty, delivery)
    }
}
