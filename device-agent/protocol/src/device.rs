//! A device: its identity and its state.

use serde::{Deserialize, Serialize};

use crate::check::{amount, line, list, name, names};
use crate::{ProtocolError, Sha256, bounds, plain, wire};

/// A layer of confinement that is not in effect on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingLayer {
    /// Its name, as [`DeviceInfo::confinement`] would list it.
    pub layer: String,
    /// Why it is not in effect.
    pub reason: String,
    /// Whether the kernel offers it. If so, the cause lies elsewhere and can be mended.
    pub offered: bool,
}

impl TryFrom<wire::MissingLayer> for MissingLayer {
    type Error = ProtocolError;

    fn try_from(m: wire::MissingLayer) -> Result<Self, ProtocolError> {
        const M: &str = "MissingLayer";
        Ok(Self {
            layer: name(M, "layer", m.layer)?,
            reason: line(M, "reason", m.reason)?,
            offered: m.offered,
        })
    }
}

impl From<MissingLayer> for wire::MissingLayer {
    fn from(missing: MissingLayer) -> Self {
        Self {
            layer: missing.layer,
            reason: plain::cut(missing.reason, bounds::MAX_TEXT_BYTES),
            offered: missing.offered,
        }
    }
}

/// The identity of a device and what it supports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The profile under which it is measured; empty as an agent sends it.
    #[serde(default)]
    pub profile: String,
    /// The host user's name for it; empty as an agent sends it.
    #[serde(default)]
    pub name: String,
    /// The agent's version.
    pub agent_version: String,
    /// ONNX Runtime's version, or name and version of another runtime.
    pub runtime_version: String,
    /// The processor's name, as the system reports it.
    pub cpu_model: String,
    /// Cores the agent may use.
    pub cores: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Flash of a bare-metal board, bytes; 0 for other devices.
    #[serde(default)]
    pub flash_bytes: u64,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// The device's own name.
    pub hostname: String,
    /// Execution providers that the runtime's library offers, by the runtime's own names.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Layers of confinement in effect on workers.
    #[serde(default)]
    pub confinement: Vec<String>,
    /// Layers of confinement that are not in effect.
    #[serde(default)]
    pub unconfined: Vec<MissingLayer>,
    /// A number that distinguishes this device from others of its kind; empty where the system
    /// has none.
    #[serde(default)]
    pub serial: String,
    /// Whether the agent makes inputs of the sizes that come with a model.
    #[serde(default)]
    pub input_shapes: bool,
}

impl DeviceInfo {
    /// Returns an identity under which measurements are comparable: the profile, and a digest of
    /// what decides speed on the device. Boards with the same image can share a host name and
    /// lack a serial number, so the user's name counts as well where it differs from the
    /// profile's.
    pub fn id(&self) -> String {
        let mut what = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            self.cpu_model, self.cores, self.arch, self.os, self.memory_bytes, self.hostname
        );
        if !self.serial.is_empty() {
            what = format!("{what}\n{}", self.serial);
        }
        if !self.name.is_empty() && self.name != self.profile {
            what = format!("{what}\nname {}", self.name);
        }
        let digest = Sha256::of(what.as_bytes()).to_string();
        let profile = if self.profile.is_empty() {
            "device"
        } else {
            &self.profile
        };
        format!("{profile}-{}", &digest[..12])
    }
}

impl TryFrom<wire::DeviceInfo> for DeviceInfo {
    type Error = ProtocolError;

    fn try_from(m: wire::DeviceInfo) -> Result<Self, ProtocolError> {
        const M: &str = "DeviceInfo";
        Ok(Self {
            profile: String::new(),
            name: String::new(),
            agent_version: name(M, "agent_version", m.agent_version)?,
            runtime_version: name(M, "runtime_version", m.runtime_version)?,
            cpu_model: name(M, "cpu_model", m.cpu_model)?,
            cores: m.cores,
            memory_bytes: m.memory_bytes,
            flash_bytes: m.flash_bytes,
            os: name(M, "os", m.os)?,
            arch: name(M, "arch", m.arch)?,
            hostname: name(M, "hostname", m.hostname)?,
            providers: names(M, "providers", m.providers)?,
            confinement: names(M, "confinement", m.confinement)?,
            unconfined: list(M, "unconfined", m.unconfined, bounds::MAX_LIST)?,
            serial: name(M, "serial", m.serial)?,
            input_shapes: m.input_shapes,
        })
    }
}

impl From<DeviceInfo> for wire::DeviceInfo {
    fn from(d: DeviceInfo) -> Self {
        Self {
            agent_version: d.agent_version,
            runtime_version: d.runtime_version,
            cpu_model: d.cpu_model,
            cores: d.cores,
            memory_bytes: d.memory_bytes,
            flash_bytes: d.flash_bytes,
            os: d.os,
            arch: d.arch,
            hostname: d.hostname,
            providers: d.providers,
            confinement: d.confinement,
            unconfined: d.unconfined.into_iter().map(Into::into).collect(),
            serial: d.serial,
            input_shapes: d.input_shapes,
        }
    }
}

/// The state of one core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreState {
    /// Current frequency, kHz.
    pub frequency_khz: Option<u64>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// How often the core was throttled since the system started.
    pub throttle_count: Option<u64>,
}

impl TryFrom<wire::CoreState> for CoreState {
    type Error = ProtocolError;

    fn try_from(m: wire::CoreState) -> Result<Self, ProtocolError> {
        let governor = |text| name("CoreState", "governor", text);
        Ok(Self {
            frequency_khz: m.frequency_khz,
            governor: m.governor.map(governor).transpose()?,
            throttle_count: m.throttle_count,
        })
    }
}

impl From<CoreState> for wire::CoreState {
    fn from(core: CoreState) -> Self {
        Self {
            frequency_khz: core.frequency_khz,
            governor: core.governor,
            throttle_count: core.throttle_count,
        }
    }
}

/// The temperature of one thermal zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThermalZone {
    /// The zone's type.
    pub name: String,
    /// Thousandths of a degree Celsius.
    pub millicelsius: i64,
}

impl TryFrom<wire::ThermalZone> for ThermalZone {
    type Error = ProtocolError;

    fn try_from(m: wire::ThermalZone) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: name("ThermalZone", "name", m.name)?,
            millicelsius: m.millicelsius,
        })
    }
}

impl From<ThermalZone> for wire::ThermalZone {
    fn from(zone: ThermalZone) -> Self {
        Self {
            name: zone.name,
            millicelsius: zone.millicelsius,
        }
    }
}

/// The battery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Battery {
    /// Charge, per cent.
    pub percent: u32,
    /// Whether it is charging or the device is on mains power.
    pub charging: Option<bool>,
    /// Its temperature, thousandths of a degree Celsius.
    pub millicelsius: Option<i64>,
}

impl From<wire::Battery> for Battery {
    fn from(m: wire::Battery) -> Self {
        Self {
            percent: m.percent,
            charging: m.charging,
            millicelsius: m.millicelsius,
        }
    }
}

impl From<Battery> for wire::Battery {
    fn from(battery: Battery) -> Self {
        Self {
            percent: battery.percent,
            charging: battery.charging,
            millicelsius: battery.millicelsius,
        }
    }
}

/// A device's state at one moment. What the system does not report is `None` or empty, never made
/// up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The moment, ns since 1970.
    pub taken_unix_ns: u64,
    /// Each core.
    pub cores: Vec<CoreState>,
    /// Each thermal zone.
    pub thermal: Vec<ThermalZone>,
    /// Load average over one minute.
    pub load1: Option<f64>,
    /// Available memory, bytes.
    pub available_memory_bytes: Option<u64>,
    /// Busy time of all cores together since the system started, ns.
    pub cpu_busy_ns: Option<u64>,
    /// Time a hypervisor withheld since the system started, ns.
    pub cpu_steal_ns: Option<u64>,
    /// The battery, if there is one.
    pub battery: Option<Battery>,
    /// Free space where the agent keeps its models, bytes.
    pub free_disk_bytes: Option<u64>,
    /// Flags of a Raspberry Pi's firmware. Bits 0 to 3: low voltage, frequency capped, throttled,
    /// soft temperature limit, now; bits 16 to 19: the same since the system started.
    #[serde(default)]
    pub firmware_throttled: Option<u32>,
}

impl TryFrom<wire::DeviceState> for DeviceState {
    type Error = ProtocolError;

    fn try_from(m: wire::DeviceState) -> Result<Self, ProtocolError> {
        const M: &str = "DeviceState";
        Ok(Self {
            taken_unix_ns: m.taken_unix_ns,
            cores: list(M, "cores", m.cores, bounds::MAX_CORES)?,
            thermal: list(M, "thermal", m.thermal, bounds::MAX_ZONES)?,
            load1: m.load1.map(|load| amount(M, "load1", load)).transpose()?,
            available_memory_bytes: m.available_memory_bytes,
            cpu_busy_ns: m.cpu_busy_ns,
            cpu_steal_ns: m.cpu_steal_ns,
            battery: m.battery.map(Into::into),
            free_disk_bytes: m.free_disk_bytes,
            firmware_throttled: m.firmware_throttled,
        })
    }
}

impl From<DeviceState> for wire::DeviceState {
    fn from(s: DeviceState) -> Self {
        Self {
            taken_unix_ns: s.taken_unix_ns,
            cores: s.cores.into_iter().map(Into::into).collect(),
            thermal: s.thermal.into_iter().map(Into::into).collect(),
            load1: s.load1,
            available_memory_bytes: s.available_memory_bytes,
            cpu_busy_ns: s.cpu_busy_ns,
            cpu_steal_ns: s.cpu_steal_ns,
            battery: s.battery.map(Into::into),
            free_disk_bytes: s.free_disk_bytes,
            firmware_throttled: s.firmware_throttled,
        }
    }
}

/// A runtime with its version, in words. ONNX Runtime reports a number; another runtime reports its
/// name, too.
///
/// # Examples
/// ```
/// use agent_protocol::runtime_in_words;
///
/// assert_eq!(runtime_in_words("1.30.0"), "ONNX Runtime 1.30.0");
/// assert_eq!(runtime_in_words("int8-engine 0.1.0"), "int8-engine 0.1.0");
/// ```
#[must_use]
pub fn runtime_in_words(version: &str) -> String {
    if version.starts_with(|c: char| c.is_ascii_alphabetic()) {
        version.to_owned()
    } else {
        format!("ONNX Runtime {version}")
    }
}

/// Bytes of memory in GB, or in kB for a microcontroller.
///
/// # Examples
/// ```
/// use agent_protocol::memory_in_words;
///
/// assert_eq!(memory_in_words(16_000_000_000), "16.0 GB");
/// assert_eq!(memory_in_words(128 << 10), "128 kB");
/// ```
#[must_use]
pub fn memory_in_words(bytes: u64) -> String {
    const LARGE: u64 = 100_000_000;
    if bytes < LARGE {
        format!("{} kB", bytes >> 10)
    } else {
        format!("{:.1} GB", bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};

    fn info() -> DeviceInfo {
        DeviceInfo {
            cpu_model: "a chip".into(),
            unconfined: vec![MissingLayer {
                layer: "files".into(),
                reason: "an old kernel".into(),
                offered: false,
            }],
            ..DeviceInfo::default()
        }
    }

    #[test]
    fn a_device_and_its_state_survive_the_wire() {
        assert_survives::<wire::DeviceInfo, _>(&info());
        assert_survives::<wire::DeviceState, _>(&DeviceState {
            cores: vec![CoreState {
                governor: Some("performance".into()),
                ..CoreState::default()
            }],
            thermal: vec![ThermalZone {
                name: "cpu".into(),
                millicelsius: 40_000,
            }],
            battery: Some(Battery {
                percent: 80,
                charging: None,
                millicelsius: Some(30_000),
            }),
            ..DeviceState::default()
        });
    }

    #[test]
    fn names_and_lists_of_a_device_are_bounded() {
        let message = wire::DeviceInfo::from(info());
        let long = |m: &mut wire::DeviceInfo| m.unconfined = vec![m.unconfined[0].clone(); 65];
        assert_refused::<_, DeviceInfo>(&message, long, "a list of 65");
        let obeyed = |m: &mut wire::DeviceInfo| m.hostname = "\u{1b}[2J".into();
        assert_refused::<_, DeviceInfo>(&message, obeyed, "control");
        let state = wire::DeviceState::default();
        let nan = |m: &mut wire::DeviceState| m.load1 = Some(f64::NAN);
        assert_refused::<_, DeviceState>(&state, nan, "load1 is NaN");
    }

    #[test]
    fn the_users_name_counts_in_the_identity_where_it_differs_from_the_profile() {
        let with = |profile: &str, name: &str| {
            DeviceInfo {
                profile: profile.into(),
                name: name.into(),
                ..info()
            }
            .id()
        };
        assert_eq!(with("pi", ""), with("pi", "pi"));
        assert_ne!(with("pi", "left"), with("pi", "right"));
        assert!(with("pi", "").starts_with("pi-") && with("", "").starts_with("device-"));
    }
}
