//! The model and number of the processors.

use std::fs::File;
use std::io::Read;
use std::{fs, io};

use sysinfo::{CpuRefreshKind, System};

use super::stat::parse_number;

/// The model and number of the online processors.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CpuInfo {
    pub(super) model: Option<String>,
    pub(super) count: Option<u32>,
}

impl CpuInfo {
    /// Reads both from two small files, because reading an entry for each processor takes longer
    /// on larger machines. Falls back to sysinfo, which knows other sources.
    pub(super) fn read() -> Self {
        let model = read_start("/proc/cpuinfo").ok();
        let model = model.and_then(|text| parse_model(&text));
        let online = fs::read("/sys/devices/system/cpu/online").ok();
        let count = online.and_then(|list| count_cpus(list.trim_ascii()));
        if model.is_some() && count.is_some() {
            return Self { model, count };
        }
        let slow = Self::from_sysinfo().unwrap_or_default();
        Self {
            model: model.or(slow.model),
            count: count.or(slow.count),
        }
    }

    fn from_sysinfo() -> Option<Self> {
        let mut system = System::new().ok()?;
        system.refresh_cpu_specifics(CpuRefreshKind::nothing());
        let cpus = system.cpus();
        let model = cpus.first().map(|cpu| cpu.brand().trim().to_owned());
        let count = u32::try_from(cpus.len()).ok();
        Some(Self {
            model: model.filter(|model| !model.is_empty()),
            count: count.filter(|&count| count > 0),
        })
    }
}

/// Reads the start of a file in `/proc`. The kernel generates only the bytes that are read.
fn read_start(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 512];
    let len = File::open(path)?.read(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// Parses the model of the first processor from a complete line of `proc_cpuinfo(5)`.
///
/// Returns `None` if the file names an implementer (ARM), from which sysinfo makes a better
/// name.
fn parse_model(text: &[u8]) -> Option<String> {
    let mut lines = text.split_inclusive(|&b| b == b'\n');
    if lines
        .clone()
        .any(|line| line.starts_with(b"CPU implementer"))
    {
        return None;
    }
    let model = lines.find_map(|line| {
        let value = line.strip_prefix(b"model name")?.trim_ascii_start();
        value.strip_prefix(b":")?.strip_suffix(b"\n")
    })?;
    let model = String::from_utf8_lossy(model.trim_ascii()).into_owned();
    (!model.is_empty()).then_some(model)
}

/// Counts the numbers in a list such as `0-3,8`, the format of `cpuset(7)`.
fn count_cpus(list: &[u8]) -> Option<u32> {
    list.split(|&b| b == b',').try_fold(0_u32, |sum, range| {
        let mut bounds = range.splitn(2, |&b| b == b'-');
        let low: u64 = parse_number(bounds.next()?)?;
        let high = bounds.next().map_or(Some(low), parse_number)?;
        let more = u32::try_from(high.checked_sub(low)?).ok()?;
        sum.checked_add(more)?.checked_add(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_reading_agrees_with_sysinfo() {
        assert_eq!(Some(CpuInfo::read()), CpuInfo::from_sysinfo());
    }

    #[test]
    fn cpu_model_needs_a_complete_line() {
        let text = b"processor\t: 0\nmodel\t\t: 143\nmodel name\t: A  B (R) 2.0 \nstepping\t: 8\n";
        assert_eq!(parse_model(text).as_deref(), Some("A  B (R) 2.0"));
        for odd in [
            &b""[..],
            b"model name\t: cut of",
            b"model name\t:\n",
            b"Model name: X\n",
            b"model name\t: ARMv7\nCPU implementer\t: 0x41\n",
        ] {
            assert_eq!(parse_model(odd), None);
        }
    }

    #[test]
    fn cpu_ranges_are_counted() {
        for (list, count) in [("0", 1), ("0-1", 2), ("0-3,8", 5), ("1,3,5-6", 4)] {
            assert_eq!(count_cpus(list.as_bytes()), Some(count), "{list}");
        }
        for odd in ["", ",", "x", "3-1", "0-", "-1", "0-99999999999"] {
            assert_eq!(count_cpus(odd.as_bytes()), None, "{odd}");
        }
    }
}
