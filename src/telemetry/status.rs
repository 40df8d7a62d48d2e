//! What signals have done to a process: `/proc/<pid>/status`.

use std::fs;

use super::stat::proc_has_own_pids;

/// Reads the status of a process (`proc_pid_status(5)`); empty if it has ended or is hidden from
/// runlog.
fn read(pid: u32) -> String {
    if !proc_has_own_pids() {
        return String::new();
    }
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// Returns a field of a process's status; empty if it is missing.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| *field == name);
    found.map_or("", |(_, value)| value.trim())
}

/// Returns whether a signal is in a set of signals in a process's status.
fn is_in_set(status: &str, set: &str, signal: i32) -> bool {
    let set = u64::from_str_radix(field(status, set), 16).unwrap_or_default();
    set >> (signal - 1) & 1 != 0
}

/// Returns whether a process has one of these signals pending.
pub fn has_pending(pid: u32, signals: &[i32]) -> bool {
    let status = read(pid);
    let mut signals = signals.iter();
    signals.any(|signal| is_in_set(&status, "ShdPnd", *signal))
}

/// Returns whether a signal, or a debugger, has stopped the process; `None` if it has ended or is
/// hidden from runlog.
pub fn is_stopped(pid: u32) -> Option<bool> {
    let status = read(pid);
    let state = field(&status, "State").chars().next()?;
    Some(matches!(state, 'T' | 't'))
}

/// Returns whether a signal has its default action in a process.
pub fn has_default_action(pid: u32, signal: i32) -> bool {
    let status = read(pid);
    let sets = ["SigBlk", "SigIgn", "SigCgt"];
    !sets.iter().any(|set| is_in_set(&status, set, signal))
}
