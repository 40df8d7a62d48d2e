//! The command line as users see it: every test runs the real binary.
//!
//! A test waits for a condition, never for a fixed time, and ends every process that it started.
//! `TestEnv::events` checks the bytes of every log that it reads.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test helper fails by panicking"
)]

mod support;

mod bad_input;
mod bad_volume;
mod bounded_work;
mod clock;
mod color;
mod completions;
mod concurrency;
mod emit;
mod emit_lines;
mod export;
mod export_browser;
mod export_files;
mod export_readers;
mod faults;
mod fixtures;
mod full_disk;
mod gc;
mod gc_crash;
mod gc_events;
mod gc_full_var;
mod gc_race;
mod gc_safety;
mod habits;
mod hidden_processes;
mod interleavings;
mod interop;
mod lease;
mod man;
mod many_segments;
mod model;
mod names;
mod odd_files;
mod old_kernels;
mod pages;
mod pending;
mod recover;
mod recover_damage;
mod recover_hooks;
mod recover_processes;
mod removed_runs;
mod replay;
mod replay_diff;
mod replay_play;
mod replay_state;
mod replay_verify;
mod rotate;
mod rotate_faults;
mod run_again;
mod run_again_failed;
mod run_again_refused;
mod run_defaults;
mod run_exit_codes;
mod run_guards;
mod run_hooks;
mod run_ignored_signals;
mod run_limits;
mod run_lock;
mod run_log_optional;
mod run_nested;
mod run_output;
mod run_output_faults;
mod run_probes;
mod run_redact;
mod run_retries;
mod run_rollback;
mod run_secrets;
mod run_shared;
mod run_signals;
mod run_stages;
mod run_streams;
mod run_supervision;
mod run_supervision_crash;
mod run_trace;
mod status;
mod status_export;
mod status_select;
mod status_stats;
mod status_wait;
mod status_watch;
mod status_watch_json;
mod stop;
mod tail;
mod tail_cursor;
mod tail_output;
mod tail_pipe;
mod tail_race;
mod tail_removed;
mod tail_search;
mod tail_several;
mod terminal;
mod terminal_modes;
mod terminal_programs;
mod terminal_style;
mod thread_limit;
mod time_zone;
mod undo;
mod unwritable_stdout;
