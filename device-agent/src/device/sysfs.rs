//! Cores, temperatures and batteries, from the kernel's files below `/sys`.

use std::path::{Path, PathBuf};

use agent_protocol::{Battery, CoreState, ThermalZone, bounds};

use super::read::{number, text};

/// Zones that are no temperatures: Qualcomm's battery limits in volts and amperes, and its state
/// of charge.
const NO_TEMPERATURE: &[&str] = &["vbat", "ibat", "bcl"];
/// Plausible temperatures, thousandths of a degree. Sensors that are off or absent report 0, -40
/// or far more, and a zone in other units reports very small numbers.
const PLAUSIBLE: [std::ops::RangeInclusive<i64>; 2] = [-39_999..=-1_000, 1_000..=150_000];

/// Returns the folders `NAME0`, `NAME1`, ... below `parent`, in the order of their numbers;
/// there may be gaps.
fn numbered(parent: &Path, name: &str, most: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten();
    let mut folders: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(name)?.parse();
            Some((number.ok()?, entry.path()))
        })
        .collect();
    folders.sort();
    folders.truncate(most);
    folders.into_iter().map(|(_, path)| path).collect()
}

/// Reads the state of each core. One that is switched off has no frequency.
pub fn cores(sysfs: &Path) -> Vec<CoreState> {
    let mhz = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut from_cpuinfo = mhz
        .lines()
        .filter(|line| line.starts_with("cpu MHz"))
        .map(|line| {
            let mhz: f64 = line.split_once(':')?.1.trim().parse().ok()?;
            Some((mhz * 1000.0) as u64)
        });
    numbered(&sysfs.join("devices/system/cpu"), "cpu", bounds::MAX_CORES)
        .into_iter()
        .map(|folder| CoreState {
            frequency_khz: number(folder.join("cpufreq/scaling_cur_freq"))
                .or_else(|| from_cpuinfo.next().flatten()),
            governor: text(folder.join("cpufreq/scaling_governor")),
            throttle_count: number(folder.join("thermal_throttle/core_throttle_count")),
        })
        .collect()
}

/// Reads each thermal zone with a plausible temperature.
pub fn thermal(sysfs: &Path) -> Vec<ThermalZone> {
    numbered(
        &sysfs.join("class/thermal"),
        "thermal_zone",
        bounds::MAX_ZONES,
    )
    .into_iter()
    .filter_map(|folder| {
        let zone = ThermalZone {
            name: text(folder.join("type")).unwrap_or_default(),
            millicelsius: number(folder.join("temp"))?,
        };
        let plausible = PLAUSIBLE
            .iter()
            .any(|range| range.contains(&zone.millicelsius));
        let other = NO_TEMPERATURE.iter().any(|part| zone.name.contains(part));
        (plausible && !other).then_some(zone)
    })
    .collect()
}

/// Reads the device's own battery, not that of a mouse or a headset.
pub fn battery(sysfs: &Path) -> Option<Battery> {
    let supplies = std::fs::read_dir(sysfs.join("class/power_supply")).ok()?;
    let mut folders: Vec<PathBuf> = supplies
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders.into_iter().find_map(|folder| {
        (text(folder.join("type"))? == "Battery").then_some(())?;
        (text(folder.join("scope")).as_deref() != Some("Device")).then_some(())?;
        Some(Battery {
            percent: number(folder.join("capacity"))?,
            charging: text(folder.join("status"))
                .filter(|status| status != "Unknown")
                .map(|status| status != "Discharging"),
            // The class has tenths of a degree: Documentation/ABI/testing/sysfs-class-power.
            millicelsius: number::<i64>(folder.join("temp")).map(|tenths| tenths * 100),
        })
    })
}

/// Reads the flags of a Raspberry Pi's firmware, which are hexadecimal.
pub fn firmware_throttled(sysfs: &Path) -> Option<u32> {
    let flags = text(sysfs.join("devices/platform/soc/soc:firmware/get_throttled"))?;
    u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a `/sys` with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn zones_without_a_plausible_temperature_are_left_out() {
        let zone = |number: u32, kind: &str, temp: &str| {
            [
                (format!("class/thermal/thermal_zone{number}/type"), kind),
                (format!("class/thermal/thermal_zone{number}/temp"), temp),
            ]
            .map(|(path, content)| (path, content.to_owned()))
        };
        // A Jetson's, a Raspberry Pi's and a phone's, with a gap and two digits in the numbers.
        let files: Vec<(String, String)> = [
            zone(0, "cpu-thermal\n", "48125\n"),
            zone(1, "GPU-thermal", "-256000"),
            zone(2, "CV0-thermal", "0"),
            zone(4, "freezer", "-12000"),
            zone(5, "soc", "95"),
            zone(6, "pm8350-vbat-lvl0", "3900"),
            zone(7, "broken", "-40000"),
            zone(8, "hotter than the sun", "2000000"),
            zone(9, "no number", "n/a"),
            zone(10, "soc-thermal", "61500"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_str()))
            .collect();
        let root = tree(&files);
        let zones: Vec<(String, i64)> = thermal(root.path())
            .into_iter()
            .map(|zone| (zone.name, zone.millicelsius))
            .collect();
        let expected = [
            ("cpu-thermal", 48_125),
            ("freezer", -12_000),
            ("soc-thermal", 61_500),
        ];
        assert_eq!(zones, expected.map(|(name, t)| (name.to_owned(), t)));
    }

    #[test]
    fn cores_come_in_the_order_of_their_numbers() {
        let root = tree(&[
            (
                "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
                "1500000\n",
            ),
            (
                "devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "schedutil\n",
            ),
            ("devices/system/cpu/cpu2/online", "0"),
            (
                "devices/system/cpu/cpu10/cpufreq/scaling_governor",
                "performance",
            ),
            (
                "devices/system/cpu/cpu10/thermal_throttle/core_throttle_count",
                "7",
            ),
            ("devices/system/cpu/cpufreq/boost", "1"),
        ]);
        let all = cores(root.path());
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].frequency_khz, Some(1_500_000));
        assert_eq!(all[0].governor.as_deref(), Some("schedutil"));
        assert_eq!(all[2].governor.as_deref(), Some("performance"));
        assert_eq!(all[2].throttle_count, Some(7));
    }

    #[test]
    fn the_battery_is_the_devices_own() {
        let root = tree(&[
            ("class/power_supply/ac/type", "Mains"),
            ("class/power_supply/a-mouse/type", "Battery"),
            ("class/power_supply/a-mouse/scope", "Device"),
            ("class/power_supply/a-mouse/capacity", "3"),
            ("class/power_supply/battery/type", "Battery\n"),
            ("class/power_supply/battery/capacity", "81\n"),
            ("class/power_supply/battery/status", "Discharging\n"),
            ("class/power_supply/battery/temp", "315\n"),
        ]);
        let want = Battery {
            percent: 81,
            charging: Some(false),
            millicelsius: Some(31_500),
        };
        assert_eq!(battery(root.path()), Some(want));
        assert_eq!(battery(tree(&[]).path()), None);
    }

    #[test]
    fn the_firmwares_flags_are_hexadecimal() {
        let file = "devices/platform/soc/soc:firmware/get_throttled";
        let check = |content: &str, want: Option<u32>| {
            assert_eq!(
                firmware_throttled(tree(&[(file, content)]).path()),
                want,
                "{content}"
            );
        };
        check("50005\n", Some(0x50005));
        check("0\n", Some(0));
        check("?", None);
        assert_eq!(firmware_throttled(tree(&[]).path()), None);
    }
}
