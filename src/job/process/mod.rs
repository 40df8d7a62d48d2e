//! Processes, signals and descriptors: functions that neither the standard library nor rustix
//! offers. All unsafe code of the project is in this room.

pub(crate) mod cpu_clock;
pub(crate) mod discard;
pub(crate) mod exec;
pub(crate) mod file_ownership;
pub(crate) mod fork;
pub(crate) mod hook_slots;
pub(crate) mod inherited;
pub(crate) mod interrupts;
pub(crate) mod job_env;
pub(crate) mod job_processes;
pub(crate) mod job_tree;
pub(crate) mod liveness;
mod monotonic_clock;
pub(crate) mod open_file_limit;
pub(crate) mod output_counters;
pub(crate) mod passed_signals;
pub(crate) mod poll;
pub(crate) mod process_group;
pub(crate) mod process_handle;
pub(crate) mod process_scan;
pub(crate) mod pty;
pub(crate) mod recorded_process;
pub(crate) mod same_file;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod supervision_page;
mod syscall;
pub(crate) mod terminal_modes;
pub(crate) mod wait_status;

#[cfg(test)]
mod supervision_page_tests;
