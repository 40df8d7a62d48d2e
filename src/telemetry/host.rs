//! The host: memory, load, disk, network and devices.

use std::path::{Path, PathBuf};
use std::{fs, io};

use sysinfo::{MemoryRefreshKind, System};

use super::cpu::CpuInfo;
use super::limits::memory_limit_bytes;
use super::snapshot::{HostSnapshot, Readings};
use super::stat::parse_number;
use super::units::{clamp_exact, round2};
use crate::volume::wall_clock;

/// A sampler of the host. It reads facts that do not change while a job runs only once.
#[derive(Debug)]
pub(super) struct HostSampler {
    volume: PathBuf,
    system: Option<System>,
    hostname: Option<String>,
    kernel: Option<String>,
    cpus: CpuInfo,
    mem_limit_bytes: Option<u64>,
    gpu_devices: u32,
    tpu_devices: u32,
}

impl HostSampler {
    pub(super) fn new(volume: &Path) -> Self {
        let devices = entry_names("/dev");
        Self {
            volume: volume.to_owned(),
            hostname: non_empty(System::host_name().ok()),
            kernel: non_empty(System::kernel_version().ok()),
            cpus: CpuInfo::read(),
            system: System::new().ok(),
            mem_limit_bytes: memory_limit_bytes(),
            gpu_devices: count_numbered(&entry_names("/sys/class/drm"), "renderD")
                .max(count_numbered(&devices, "nvidia")),
            tpu_devices: count_numbered(&entry_names("/sys/class/accel"), "accel")
                .max(count_numbered(&devices, "accel")),
        }
    }

    pub(super) fn mem_total_bytes(&mut self) -> Option<u64> {
        self.memory().total
    }

    fn memory(&mut self) -> MemoryUsage {
        self.system.as_mut().map(refresh_memory).unwrap_or_default()
    }

    pub(super) fn sample(&mut self) -> HostSnapshot {
        let memory = self.memory();
        let load = System::load_average().ok();
        let disk = DiskUsage::read(&self.volume).ok();
        let net = fs::read("/proc/net/dev").ok().map(|text| parse_net(&text));
        HostSnapshot {
            taken_ts: wall_clock(),
            hostname: self.hostname.clone(),
            kernel: self.kernel.clone(),
            cpu_model: self.cpus.model.clone(),
            cpu_count: self.cpus.count,
            mem_total_bytes: memory.total,
            mem_available_bytes: memory.available,
            mem_used_bytes: memory.used(),
            mem_limit_bytes: self
                .mem_limit_bytes
                .filter(|&limit| memory.total.is_some_and(|total| limit < total)),
            swap_total_bytes: memory.swap_total,
            swap_used_bytes: memory.swap_used,
            load_1m: load.as_ref().map(|load| round2(load.one)),
            load_5m: load.as_ref().map(|load| round2(load.five)),
            load_15m: load.as_ref().map(|load| round2(load.fifteen)),
            uptime_s: System::uptime().ok().map(clamp_exact),
            disk_total_bytes: disk.as_ref().map(|disk| disk.total),
            disk_available_bytes: disk.as_ref().map(|disk| disk.available),
            disk_used_bytes: disk.as_ref().map(|disk| disk.used),
            net_rx_bytes: net.map(|(received, _)| received),
            net_tx_bytes: net.map(|(_, sent)| sent),
            gpu_devices: self.gpu_devices,
            tpu_devices: self.tpu_devices,
            probes: Readings::new(),
        }
    }
}

/// Returns how many bytes an unprivileged user can still use on the file system that holds
/// `path` (`f_bavail` of `statvfs(3)`).
///
/// # Errors
///
/// `statvfs(3)` fails. The call blocks for as long as the file system does.
pub fn free_disk_bytes(path: &Path) -> io::Result<u64> {
    Ok(DiskUsage::read(path)?.available)
}

/// Returns how many bytes of memory new programs can use without swapping (`MemAvailable` of
/// `proc_meminfo(5)`), regardless of cgroup limits.
pub fn available_mem_bytes() -> Option<u64> {
    refresh_memory(&mut System::new().ok()?).available
}

/// Returns the load average over one minute (`proc_loadavg(5)`).
pub fn load_1m() -> Option<f64> {
    Some(round2(System::load_average().ok()?.one))
}

/// The memory usage in bytes.
#[derive(Debug, Default)]
struct MemoryUsage {
    total: Option<u64>,
    available: Option<u64>,
    swap_total: Option<u64>,
    swap_used: Option<u64>,
}

impl MemoryUsage {
    fn used(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.available?))
    }
}

fn refresh_memory(system: &mut System) -> MemoryUsage {
    system.refresh_memory_specifics(MemoryRefreshKind::everything());
    // sysinfo reports zeros if the read failed.
    if system.total_memory() == 0 {
        return MemoryUsage::default();
    }
    // sysinfo's own "used" underflows on the inconsistent figures of some containers.
    let swap_used = system.total_swap().saturating_sub(system.free_swap());
    MemoryUsage {
        total: Some(clamp_exact(system.total_memory())),
        available: Some(clamp_exact(system.available_memory())),
        swap_total: Some(clamp_exact(system.total_swap())),
        swap_used: Some(clamp_exact(swap_used)),
    }
}

/// The usage of a file system in bytes.
#[derive(Debug)]
struct DiskUsage {
    total: u64,
    available: u64,
    used: u64,
}

impl DiskUsage {
    fn read(path: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| clamp_exact(blocks.saturating_mul(disk.f_frsize));
        Ok(Self {
            total: bytes(disk.f_blocks),
            available: bytes(disk.f_bavail),
            used: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)),
        })
    }
}

/// Parses the bytes received and sent over all interfaces except `lo` from `/proc/net/dev`.
///
/// A line is `name: received-bytes` and seven more columns, then `sent-bytes` and seven more.
fn parse_net(text: &[u8]) -> (u64, u64) {
    let interface = |line: &[u8]| -> Option<(u64, u64)> {
        let colon = memchr::memchr(b':', line)?;
        if line.get(..colon)?.trim_ascii() == b"lo" {
            return None;
        }
        let mut columns = line
            .get(colon + 1..)?
            .split(u8::is_ascii_whitespace)
            .filter(|column| !column.is_empty());
        Some((
            parse_number(columns.next()?)?,
            parse_number(columns.nth(7)?)?,
        ))
    };
    let (received, sent) = text
        .split(|&b| b == b'\n')
        .filter_map(interface)
        .fold((0_u64, 0_u64), |(rx, tx), (more_rx, more_tx)| {
            (rx.saturating_add(more_rx), tx.saturating_add(more_tx))
        });
    (clamp_exact(received), clamp_exact(sent))
}

/// Lists the names in a directory; none if the directory does not exist.
fn entry_names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

/// Counts the names that are `prefix` followed by a number.
fn count_numbered(names: &[String], prefix: &str) -> u32 {
    let devices = names.iter().filter(|name| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    devices.count() as u32
}

/// Drops an empty text.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_counters_exclude_loopback() {
        let text = b"Inter-|   Receive                 |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n    \
            lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  \
            eth0: 1000 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n\
            wlan0:30 1 0 0 0 0 0 0 4 1 0 0 0 0 0 0\n";
        assert_eq!(parse_net(text), (1030, 204));
    }

    #[test]
    fn malformed_network_lines_are_skipped() {
        for odd in [
            &b""[..],
            b":",
            b"eth0:",
            b"eth0: x",
            b"eth0: 1 2 3",
            b"\xff: \xfe",
            b"\n\n",
        ] {
            assert_eq!(parse_net(odd), (0, 0));
        }
        let huge = b"a: 18446744073709551615 0 0 0 0 0 0 0 1\nb: 5 0 0 0 0 0 0 0 1";
        assert_eq!(parse_net(huge), (clamp_exact(u64::MAX), 2));
    }

    #[test]
    fn devices_are_counted_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "nvidia0",
            "nvidia12",
            "nvidiactl",
            "nvidia-uvm",
            "nvidia",
            "accel0",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(count_numbered(&entry_names(dir.path()), "nvidia"), 2);
        assert_eq!(count_numbered(&entry_names(dir.path()), "accel"), 1);
        assert_eq!(
            count_numbered(&entry_names(dir.path().join("missing")), "accel"),
            0
        );
    }

    #[test]
    fn host_readings_are_plausible() {
        let free = free_disk_bytes(Path::new("/")).unwrap();
        assert!(free < 1 << 53);
        assert!(free_disk_bytes(Path::new("/no/such/directory")).is_err());
        assert!(available_mem_bytes().unwrap() > 0);
        assert!(load_1m().unwrap() >= 0.0);
    }
}
