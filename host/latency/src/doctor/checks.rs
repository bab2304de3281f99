//! What the answers of an agent say about its device.

use agent_protocol::{DeviceInfo, DeviceState, Sampling};

use super::{Finding, Noise};
use crate::{Profile, TransportKind};

/// Space and memory below which things fail, and below which they may, bytes.
const LEAST: u64 = 32 << 20;
const LITTLE: u64 = 256 << 20;
/// A clock that is off by more is worth a word.
const CLOCK_OFF_NS: i128 = 5_000_000_000;
/// Load on each core above which others disturb a measurement.
const BUSY: f64 = 0.3;
/// How close to the limit a device may be before it runs, thousandths of a degree.
const CLOSE: i64 = 5_000;
/// A battery with less makes phones save power, per cent.
const LOW_BATTERY: u32 = 30;

/// What ONNX Runtime calls a provider.
fn runtime_name(provider: &str) -> &'static str {
    match provider {
        "xnnpack" => "XnnpackExecutionProvider",
        "nnapi" => "NnapiExecutionProvider",
        "qnn" => "QNNExecutionProvider",
        "coreml" => "CoreMLExecutionProvider",
        "acl" => "ACLExecutionProvider",
        "cuda" => "CUDAExecutionProvider",
        "tensorrt" => "TensorrtExecutionProvider",
        _ => "CPUExecutionProvider",
    }
}

/// Agent, runtime, providers, confinement.
pub fn of_info(info: &DeviceInfo, profile: &Profile, device: &str) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let described = format!(
        "{}, {} cores, {:.1} GB, {} {}",
        info.cpu_model,
        info.cores,
        info.memory_bytes as f64 / 1e9,
        info.os,
        info.arch
    );
    let mut all = vec![Finding::ok("device", described)];
    all.push(if info.agent_version == own {
        Finding::ok("agent", format!("graphprune-agent {own}"))
    } else {
        let advice = match profile.transport {
            TransportKind::Local => "build both from the same sources".to_owned(),
            _ => format!("`graphprune device deploy {device}` brings this one's"),
        };
        let seen = format!(
            "graphprune-agent {}, this is graphprune {own}",
            info.agent_version
        );
        Finding::warning("agent", seen, advice)
    });
    all.push(Finding::ok(
        "runtime",
        format!("ONNX Runtime {}", info.runtime_version),
    ));
    if !info.providers.is_empty() {
        let missing: Vec<&str> = profile
            .runtime
            .providers
            .iter()
            .map(|provider| provider.name.as_str())
            .filter(|name| !info.providers.iter().any(|has| has == runtime_name(name)))
            .collect();
        let seen = format!("the library offers {}", info.providers.join(", "));
        all.push(if missing.is_empty() {
            Finding::ok("providers", seen)
        } else {
            Finding::warning(
                "providers",
                format!("{seen}; the profile wants {} too", missing.join(", ")),
                format!("deploy a library that has them: `graphprune device deploy {device} --runtime FILE`"),
            )
        });
    }
    let cores = &profile.sampling.cores;
    if let Some(core) = cores.iter().find(|core| **core >= info.cores) {
        all.push(Finding::error(
            "cores",
            format!(
                "the profile binds workers to core {core}, and the device has {}",
                info.cores
            ),
            "is this the right profile?",
        ));
    }
    all.push(if info.confinement.is_empty() {
        Finding::warning(
            "confinement",
            "the agent names nothing that keeps its workers in their place",
            "measure only models that you trust, or use a newer kernel",
        )
    } else {
        Finding::ok("confinement", info.confinement.join(", "))
    });
    all
}

/// The clock, which only dates measurements.
pub fn clock(ahead_ns: i128) -> Finding {
    let seconds = ahead_ns as f64 / 1e9;
    if ahead_ns.abs() <= CLOCK_OFF_NS {
        return Finding::ok("clock", format!("{seconds:+.1} s against this machine's"));
    }
    Finding::warning(
        "clock",
        format!("{seconds:+.0} s against this machine's"),
        "latencies do not suffer, but dates and certificates do: set it, or start a time service",
    )
}

/// Frequencies, temperatures, load, space, battery.
pub fn of_state(state: &DeviceState, profile: &Profile) -> Vec<Finding> {
    let mut all = vec![governor(state, profile)];
    all.extend(throttling(state));
    all.push(temperature(state, profile));
    all.extend(load(state));
    let bytes = |check, free: Option<u64>, advice: &str| {
        let free = free?;
        let seen = format!("{:.0} MB free", free as f64 / 1e6);
        Some(match free {
            ..LEAST => Finding::error(check, seen, advice),
            LEAST..LITTLE => Finding::warning(check, seen, advice),
            _ => Finding::ok(check, seen),
        })
    };
    all.extend(bytes(
        "memory",
        state.available_memory_bytes,
        "end other programs on the device",
    ));
    all.extend(bytes(
        "space",
        state.free_disk_bytes,
        "remove files from where the agent keeps its models",
    ));
    all.extend(battery(state));
    all
}

fn governor(state: &DeviceState, profile: &Profile) -> Finding {
    const CHECK: &str = "governor";
    let mut seen: Vec<(String, Vec<usize>)> = Vec::new();
    for (core, of_core) in state.cores.iter().enumerate() {
        let frequency = of_core.frequency_khz.map_or_else(String::new, |khz| {
            format!(" at {:.2} GHz", khz as f64 / 1e6)
        });
        let Some(governor) = &of_core.governor else {
            continue;
        };
        let text = format!("{governor}{frequency}");
        match seen.iter_mut().find(|(other, _)| *other == text) {
            Some((_, cores)) => cores.push(core),
            None => seen.push((text, vec![core])),
        }
    }
    if seen.is_empty() {
        return Finding::warning(
            CHECK,
            "the system does not tell its governors or frequencies",
            "in a virtual machine that is so; rely on ratios to a reference",
        );
    }
    let text = seen
        .iter()
        .map(|(what, cores)| {
            let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
            format!("{what} (cores {})", cores.join(", "))
        })
        .collect::<Vec<_>>()
        .join("; ");
    let wanted = profile
        .conditions
        .governor
        .as_deref()
        .unwrap_or("performance");
    let used = |core: usize| {
        profile.sampling.cores.is_empty()
            || profile
                .sampling
                .cores
                .iter()
                .any(|used| *used as usize == core)
    };
    let others = state.cores.iter().enumerate().any(|(core, of_core)| {
        used(core) && of_core.governor.as_deref().is_some_and(|has| has != wanted)
    });
    if others {
        let advice = match profile.transport {
            TransportKind::Adb => {
                "without root it cannot be changed; the measurement warms up and interleaves"
                    .to_owned()
            }
            _ => format!(
                "on the device: `echo {wanted} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`"
            ),
        };
        return Finding::warning(CHECK, text, advice);
    }
    Finding::ok(CHECK, text)
}

/// What the firmware of a Raspberry Pi tells: the lowest bits are what holds now, the same sixteen bits higher what held
/// since the start.
const FIRMWARE: [(u32, &str); 4] = [
    (0, "the voltage is too low"),
    (1, "the frequency is capped"),
    (2, "the cores are throttled"),
    (3, "the soft limit of the temperature is reached"),
];

fn throttling(state: &DeviceState) -> Option<Finding> {
    const CHECK: &str = "throttling";
    let held = |shift: u32| -> Vec<&str> {
        let bits = state.firmware_throttled.unwrap_or(0) >> shift;
        let held = FIRMWARE.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
        held.map(|(_, what)| *what).collect()
    };
    let (now, before) = (held(0), held(16));
    if !now.is_empty() {
        return Some(Finding::error(
            CHECK,
            format!("now: {}", now.join(", ")),
            "a stronger power supply or a better cooler",
        ));
    }
    let counts = state.cores.iter().filter_map(|core| core.throttle_count);
    let sum: u64 = counts.clone().sum();
    if !before.is_empty() || sum > 0 {
        let counted = format!("{sum} times by the cores' count");
        let seen: Vec<&str> = before
            .into_iter()
            .chain((sum > 0).then_some(counted.as_str()))
            .collect();
        return Some(Finding::warning(
            CHECK,
            format!("since the start: {}", seen.join(", ")),
            "a stronger power supply, a better cooler, or longer pauses between measurements",
        ));
    }
    let told = state.firmware_throttled.is_some() || counts.count() > 0;
    told.then(|| Finding::ok(CHECK, "not since the start"))
}

fn temperature(state: &DeviceState, profile: &Profile) -> Finding {
    const CHECK: &str = "temperature";
    let Some(hottest) = state.thermal.iter().max_by_key(|zone| zone.millicelsius) else {
        return Finding::warning(
            CHECK,
            "no temperature can be read",
            "the limit of the profile cannot be kept; watch for drift",
        );
    };
    let degrees = |milli: i64| milli as f64 / 1000.0;
    let all: Vec<String> = state
        .thermal
        .iter()
        .map(|zone| format!("{} {:.0}", zone.name, degrees(zone.millicelsius)))
        .collect();
    let seen = format!("{} degrees", all.join(", "));
    match profile.conditions.max_millicelsius {
        Some(limit) if hottest.millicelsius > limit => Finding::error(
            CHECK,
            format!("{seen}; the profile allows {:.0}", degrees(limit)),
            format!(
                "let it cool down or give it a fan; if {} is always so hot, raise conditions.max_millicelsius in the profile",
                hottest.name
            ),
        ),
        Some(limit) if hottest.millicelsius > limit - CLOSE => Finding::warning(
            CHECK,
            format!("{seen}; the profile allows {:.0}", degrees(limit)),
            "measurements will wait for it to cool down; a fan makes them faster",
        ),
        _ => Finding::ok(CHECK, seen),
    }
}

fn load(state: &DeviceState) -> Option<Finding> {
    let (load, cores) = (state.load1?, state.cores.len().max(1));
    let seen = format!("{load:.2} over a minute on {cores} cores");
    Some(if load / cores as f64 > BUSY {
        Finding::warning(
            "load",
            seen,
            "other programs run on the device: look with `top`, and end them",
        )
    } else {
        Finding::ok("load", seen)
    })
}

fn battery(state: &DeviceState) -> Option<Finding> {
    const CHECK: &str = "battery";
    let battery = state.battery.as_ref()?;
    let temperature = battery.millicelsius.map_or_else(String::new, |milli| {
        format!(", {:.0} degrees", milli as f64 / 1000.0)
    });
    let charging = match battery.charging {
        Some(true) => ", charging",
        Some(false) => ", not charging",
        None => "",
    };
    let seen = format!("{} %{charging}{temperature}", battery.percent);
    Some(match battery.charging {
        Some(false) if battery.percent < LOW_BATTERY => Finding::warning(
            CHECK,
            seen,
            "charge it: below some charge phones save power",
        ),
        Some(true) if battery.percent < LOW_BATTERY => Finding::warning(
            CHECK,
            seen,
            "let it charge first: charging heats the device",
        ),
        _ => Finding::ok(CHECK, seen),
    })
}

/// How far apart two measurements of the same are.
pub fn noise(noise: &Noise, sampling: &Sampling) -> Finding {
    const CHECK: &str = "noise";
    let seen = format!(
        "a small network takes {:.3} ms and {:.4} times as long as itself (95 % interval +-{:.1} %)",
        noise.median_ns / 1e6,
        noise.ratio,
        noise.interval_rel * 100.0
    );
    let off = (noise.ratio - 1.0).abs();
    if off > noise.interval_rel.max(sampling.ci_accept_rel) {
        return Finding::error(
            CHECK,
            seen,
            "the order of runs decides: mend what the other lines say",
        );
    }
    if noise.interval_rel > sampling.ci_target_rel || off > sampling.ci_target_rel {
        return Finding::warning(
            CHECK,
            seen,
            format!(
                "more than the {:.1} % that a search aims at: measurements will take longer",
                sampling.ci_target_rel * 100.0
            ),
        );
    }
    Finding::ok(CHECK, seen)
}

#[cfg(test)]
mod tests {
    use agent_protocol::{Battery, CoreState, ThermalZone};

    use super::super::Grade;
    use super::*;

    fn check(findings: &[Finding], name: &str, grade: Grade, needle: &str) {
        let found = findings.iter().find(|finding| finding.check == name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {findings:?}"));
        assert_eq!(found.grade, grade, "{found:?}");
        let text = format!("{} {}", found.seen, found.advice);
        assert!(text.contains(needle), "{found:?}");
        assert_eq!(found.advice.is_empty(), grade == Grade::Ok, "{found:?}");
    }

    #[test]
    fn a_state_is_judged_by_the_profile() {
        let pi = Profile::find("raspberry-pi-5").unwrap();
        let core = |governor: &str| CoreState {
            frequency_khz: Some(2_400_000),
            governor: Some(governor.into()),
            throttle_count: Some(0),
        };
        let zone = |degrees: i64| ThermalZone {
            name: "cpu".into(),
            millicelsius: degrees * 1000,
        };
        let good = DeviceState {
            cores: vec![core("performance"); 4],
            thermal: vec![zone(50)],
            load1: Some(0.2),
            available_memory_bytes: Some(2 << 30),
            free_disk_bytes: Some(2 << 30),
            ..DeviceState::default()
        };
        assert!(
            of_state(&good, &pi)
                .iter()
                .all(|finding| finding.grade == Grade::Ok)
        );
        let bad = DeviceState {
            cores: vec![core("performance"), core("ondemand")],
            thermal: vec![zone(60), zone(71)],
            load1: Some(2.0),
            available_memory_bytes: Some(100 << 20),
            free_disk_bytes: Some(1 << 20),
            battery: Some(Battery {
                percent: 10,
                charging: Some(false),
                millicelsius: None,
            }),
            ..DeviceState::default()
        };
        let found = of_state(&bad, &pi);
        check(
            &found,
            "governor",
            Grade::Warning,
            "ondemand at 2.40 GHz (cores 1)",
        );
        check(&found, "temperature", Grade::Error, "allows 70");
        check(&found, "load", Grade::Warning, "top");
        check(&found, "memory", Grade::Warning, "105 MB");
        check(&found, "space", Grade::Error, "1 MB");
        check(&found, "battery", Grade::Warning, "10 %, not charging");
        assert!(
            !found
                .iter()
                .any(|finding| finding.check == "throttling" && finding.grade != Grade::Ok)
        );
        let nothing = of_state(&DeviceState::default(), &pi);
        check(&nothing, "governor", Grade::Warning, "does not tell");
        check(&nothing, "temperature", Grade::Warning, "no temperature");
    }

    #[test]
    fn what_the_firmware_tells_is_now_or_was() {
        let pi = Profile::find("raspberry-pi-5").unwrap();
        let of = |bits| {
            of_state(
                &DeviceState {
                    firmware_throttled: Some(bits),
                    ..DeviceState::default()
                },
                &pi,
            )
        };
        check(&of(0), "throttling", Grade::Ok, "not since");
        check(
            &of(0x5_0005),
            "throttling",
            Grade::Error,
            "now: the voltage is too low, the cores are throttled",
        );
        check(
            &of(0x8_0000),
            "throttling",
            Grade::Warning,
            "since the start: the soft limit",
        );
    }

    #[test]
    fn only_the_cores_that_are_used_need_the_governor() {
        let rock = Profile::find("rock-5b").unwrap();
        let core = |governor: &str| CoreState {
            governor: Some(governor.into()),
            ..CoreState::default()
        };
        let mut cores = vec![core("ondemand"); 4];
        cores.extend(vec![core("performance"); 4]);
        let state = DeviceState {
            cores,
            ..DeviceState::default()
        };
        check(
            &of_state(&state, &rock),
            "governor",
            Grade::Ok,
            "cores 4, 5, 6, 7",
        );
    }

    #[test]
    fn a_missing_provider_a_strange_version_and_a_core_too_many_are_told() {
        let jetson = Profile::find("jetson-orin-nano").unwrap();
        let info = DeviceInfo {
            agent_version: "0.0.1".into(),
            cores: 6,
            providers: vec![
                "CUDAExecutionProvider".into(),
                "CPUExecutionProvider".into(),
            ],
            ..DeviceInfo::default()
        };
        let found = of_info(&info, &jetson, "bench");
        check(&found, "agent", Grade::Warning, "device deploy bench");
        check(&found, "providers", Grade::Warning, "wants tensorrt too");
        let rock = Profile::find("rock-5b").unwrap();
        check(
            &of_info(&info, &rock, "bench"),
            "cores",
            Grade::Error,
            "core 6",
        );
    }

    #[test]
    fn noise_and_clock_have_their_limits() {
        let sampling = Sampling::default();
        let of = |ratio, interval_rel| {
            noise(
                &Noise {
                    median_ns: 1e6,
                    ratio,
                    interval_rel,
                },
                &sampling,
            )
            .grade
        };
        assert_eq!(of(1.005, 0.01), Grade::Ok);
        assert_eq!(of(1.0, 0.05), Grade::Warning);
        assert_eq!(of(1.03, 0.01), Grade::Warning);
        assert_eq!(of(1.2, 0.01), Grade::Error);
        assert_eq!(clock(1_000_000_000).grade, Grade::Ok);
        assert_eq!(clock(-100_000_000_000).grade, Grade::Warning);
    }
}
