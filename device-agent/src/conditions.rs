//! The conditions that a measurement sets on the device.

use std::time::{Duration, Instant};

use agent_protocol::{Conditions, DeviceState, Failure, FailureKind, Progress, Stage, ThermalZone};

use crate::child::{self, HEARTBEAT};
use crate::device::System;

/// Waits until no thermal zone is hotter than the conditions allow. `progress` is called at every
/// heartbeat and cancels the wait by returning `false`.
pub fn cool_down(
    conditions: &Conditions,
    system: &System,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<(), Failure> {
    let Some(most) = conditions.max_millicelsius else {
        return Ok(());
    };
    let begun = Instant::now();
    let patience = Duration::from_nanos(conditions.cool_down_ns);
    let mut report = Progress::at(Stage::Cooling);
    while let Some(zone) = too_hot(&system.state(), most).cloned() {
        let waited = begun.elapsed();
        let Some(left) = patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(Failure {
                kind: FailureKind::Conditions,
                stage: Stage::Cooling,
                model: String::new(),
                detail: format!(
                    "{} after {} s of waiting: cool the device, or allow more (conditions.max_millicelsius) or wait longer (conditions.cool_down_ns)",
                    describe(&zone, most),
                    waited.as_secs()
                ),
            });
        };
        report.elapsed_ns = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        if !progress(&report) {
            return Err(child::cancelled(&report));
        }
        std::thread::sleep(left.min(HEARTBEAT));
    }
    Ok(())
}

/// Returns the hottest thermal zone if it is hotter than `most` thousandths of a degree.
pub fn too_hot(state: &DeviceState, most: i64) -> Option<&ThermalZone> {
    state
        .thermal
        .iter()
        .max_by_key(|zone| zone.millicelsius)
        .filter(|zone| zone.millicelsius > most)
}

/// Describes how hot a zone is.
pub fn describe(zone: &ThermalZone, most: i64) -> String {
    format!(
        "the thermal zone `{}` has {:.1} °C, more than the {:.1} °C that the conditions allow",
        zone.name,
        zone.millicelsius as f64 / 1000.0,
        most as f64 / 1000.0
    )
}

/// Returns notes on conditions that do not hold without preventing the measurement, and on those
/// that the device gives no information about.
pub fn notes(conditions: &Conditions, state: &DeviceState) -> Vec<String> {
    let mut notes = Vec::new();
    if conditions.max_millicelsius.is_some() && state.thermal.is_empty() {
        notes.push("the device reports no temperature, so it may have been too hot".to_owned());
    }
    if let Some(expected) = &conditions.governor {
        let differing: Vec<(usize, Option<&str>)> = state
            .cores
            .iter()
            .map(|core| core.governor.as_deref())
            .enumerate()
            .filter(|(_, governor)| *governor != Some(expected))
            .collect();
        let reported: Vec<String> = differing
            .iter()
            .filter_map(|(core, governor)| Some(format!("{core} ({})", (*governor)?)))
            .collect();
        if !reported.is_empty() {
            notes.push(format!(
                "the frequency governor is not `{expected}` on the cores {}: set it with `echo {expected} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`",
                reported.join(", ")
            ));
        } else if !differing.is_empty() {
            notes.push(format!(
                "the device does not report whether the frequency governor is `{expected}`"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::CoreState;

    fn state(zones: &[(&str, i64)], governors: &[Option<&str>]) -> DeviceState {
        let zones = zones.iter().map(|&(name, millicelsius)| ThermalZone {
            name: name.into(),
            millicelsius,
        });
        let cores = governors.iter().map(|governor| CoreState {
            governor: governor.map(str::to_owned),
            ..CoreState::default()
        });
        DeviceState {
            thermal: zones.collect(),
            cores: cores.collect(),
            ..DeviceState::default()
        }
    }

    #[test]
    fn the_hottest_zone_above_the_limit_is_named() {
        let state = state(&[("cpu", 71_000), ("gpu", 72_500)], &[]);
        assert_eq!(too_hot(&state, 72_500), None);
        let zone = too_hot(&state, 70_000).unwrap();
        let text = describe(zone, 70_000);
        assert!(
            text.contains("`gpu` has 72.5 °C") && text.contains("70.0 °C"),
            "{text}"
        );
    }

    #[test]
    fn cores_under_another_governor_are_noted_with_the_remedy() {
        let conditions = Conditions {
            governor: Some("performance".into()),
            max_millicelsius: Some(70_000),
            ..Conditions::default()
        };
        let check = |governors: &[Option<&str>], needles: &[&str]| {
            let zones = [("cpu", 40_000)];
            let notes = notes(&conditions, &state(&zones, governors));
            assert_eq!(notes.len(), usize::from(!needles.is_empty()), "{notes:?}");
            for needle in needles {
                assert!(notes[0].contains(needle), "{notes:?}");
            }
        };
        check(&[Some("performance"); 2], &[]);
        check(
            &[Some("performance"), Some("schedutil")],
            &["cores 1 (schedutil)", "tee /sys"],
        );
        check(&[None, None], &["does not report"]);
        let blind = notes(&conditions, &state(&[], &[]));
        assert!(blind[0].contains("no temperature"), "{blind:?}");
    }
}
