//! The device's identity and state, as the system reports them. What it does not report is left
//! out.

mod identity;
mod read;
mod sysfs;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_protocol::{DeviceInfo, DeviceState};

use crate::folder::Space;
use crate::runtime::RuntimeFacts;

/// Nanoseconds of one tick of `/proc/stat`: USER_HZ is 100 on every architecture this runs on.
const TICK_NS: u64 = 10_000_000;

/// Returns the current time, ns since 1970.
pub fn now_unix_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The places that the device's identity and state are read from.
#[derive(Clone, Debug)]
pub struct System {
    /// The kernel's view of the hardware: `/sys`.
    pub sysfs: PathBuf,
    /// The folder in which the agent keeps its files.
    pub folder: PathBuf,
    /// The address of the board's probe, where the agent measures on one. This machine's own state
    /// says nothing about a board.
    pub probe: Option<String>,
}

impl System {
    /// Reads the device's identity.
    pub fn info(&self, runtime: RuntimeFacts) -> DeviceInfo {
        if let Some(chip) = runtime.chip {
            return DeviceInfo {
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                runtime_version: runtime.version,
                cpu_model: chip.name,
                cores: 1,
                memory_bytes: chip.ram_bytes,
                flash_bytes: chip.flash_bytes,
                os: "bare metal".to_owned(),
                arch: chip.architecture,
                serial: self.probe.clone().unwrap_or_default(),
                confinement: runtime.confinement,
                unconfined: runtime.unconfined,
                ..DeviceInfo::default()
            };
        }
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let board = || read::text("/proc/device-tree/model");
        DeviceInfo {
            profile: String::new(),
            name: String::new(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_version: runtime.version,
            cpu_model: cpu_model(&cpu).or_else(board).unwrap_or_default(),
            cores: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal:").unwrap_or(0),
            flash_bytes: 0,
            os: identity::os(Path::new("/")).to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            hostname: read::text("/proc/sys/kernel/hostname").unwrap_or_default(),
            providers: runtime.providers,
            confinement: runtime.confinement,
            unconfined: runtime.unconfined,
            serial: identity::serial(Path::new("/")).unwrap_or_default(),
            input_shapes: true,
        }
    }

    /// Reads the device's current state.
    pub fn state(&self) -> DeviceState {
        if self.probe.is_some() {
            return DeviceState {
                taken_unix_ns: now_unix_ns(),
                ..DeviceState::default()
            };
        }
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (busy, steal) = cpu_times(&stat).unzip();
        DeviceState {
            taken_unix_ns: now_unix_ns(),
            cores: sysfs::cores(&self.sysfs),
            thermal: sysfs::thermal(&self.sysfs),
            load1: read::text("/proc/loadavg")
                .and_then(|line| line.split(' ').next()?.parse().ok()),
            available_memory_bytes: meminfo_bytes(&meminfo, "MemAvailable:"),
            cpu_busy_ns: busy,
            cpu_steal_ns: steal,
            battery: sysfs::battery(&self.sysfs),
            free_disk_bytes: Space::at(&self.folder).ok().map(|space| space.free),
            firmware_throttled: sysfs::firmware_throttled(&self.sysfs),
        }
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Hardware"))?;
    read::clean(line.split_once(':')?.1)
}

fn meminfo_bytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// Returns busy and stolen time of all cores together, ns.
fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let tick = |i: usize| ticks.get(i).copied().unwrap_or(0);
    let busy = [0, 1, 2, 5, 6].into_iter().map(tick).sum::<u64>();
    (ticks.len() >= 4).then(|| (busy * TICK_NS, tick(7) * TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_proc_are_read_and_missing_ones_are_absent() {
        let stat = "cpu  10 1 5 1000 7 2 3 4 0 0\ncpu0 1 1 1 1\n";
        assert_eq!(cpu_times(stat), Some((21 * TICK_NS, 4 * TICK_NS)));
        assert_eq!(cpu_times(""), None);
        assert_eq!(cpu_times("cpu  1 2"), None);
        assert_eq!(
            meminfo_bytes("MemTotal:       2048 kB\n", "MemTotal:"),
            Some(2048 * 1024)
        );
        assert_eq!(meminfo_bytes("", "MemTotal:"), None);
        assert_eq!(
            cpu_model("model name\t: A chip\n").as_deref(),
            Some("A chip")
        );
        assert_eq!(cpu_model("processor : 0\n"), None);
    }

    #[test]
    fn this_machine_has_a_core_and_a_clock() {
        let system = System {
            sysfs: "/sys".into(),
            folder: std::env::temp_dir(),
            probe: None,
        };
        let state = system.state();
        assert!(!state.cores.is_empty() && state.taken_unix_ns > 0);
        assert!(state.free_disk_bytes.is_some());
        assert!(system.info(RuntimeFacts::default()).cores > 0);
    }
}
