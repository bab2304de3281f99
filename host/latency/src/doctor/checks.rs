//! Checks of a device's description and state.

use agent_protocol::{
    BoardInfo, DeviceInfo, DeviceState, Measurement, Provider, Sampling, memory_in_words,
    runtime_in_words,
};

use super::examination::{Finding, Noise};
use crate::{Profile, TransportKind};

/// Memory and disk space below which measurements fail, and below which they may fail, bytes.
const LEAST: u64 = 32 << 20;
const LITTLE: u64 = 256 << 20;
/// The tolerated error of a clock.
const CLOCK_OFF_NS: i128 = 5_000_000_000;
/// Load per core above which other programs disturb a measurement.
const BUSY: f64 = 0.3;
/// The margin below the temperature limit, thousandths of a degree.
const CLOSE: i64 = 5_000;
/// The charge below which phones save power, per cent.
const LOW_BATTERY: u32 = 30;

/// Checks the agent, the runtime, the providers, the cores and the confinement.
pub fn of_info(info: &DeviceInfo, profile: &Profile, device: &str) -> Vec<Finding> {
    let own = env!("CARGO_PKG_VERSION");
    let described = format!(
        "{}, {} cores, {}, {} {}",
        info.cpu_model,
        info.cores,
        memory_in_words(info.memory_bytes),
        info.os,
        info.arch
    );
    let mut all = vec![Finding::ok("device", described)];
    all.push(if info.agent_version == own {
        Finding::ok("agent", format!("graphprune-agent {own}"))
    } else {
        let advice = match profile.transport {
            TransportKind::Local | TransportKind::Probe => {
                "build both from the same sources".to_owned()
            }
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
        runtime_in_words(&info.runtime_version),
    ));
    all.extend(providers(info, profile, device));
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
    all.push(confinement(info, profile));
    all
}

/// Checks that the runtime's library has the profile's providers. Agents of old versions list
/// none.
fn providers(info: &DeviceInfo, profile: &Profile, device: &str) -> Option<Finding> {
    const CHECK: &str = "providers";
    if info.providers.is_empty() {
        return None;
    }
    let has = |name: &str| {
        let full = Provider::name_in_runtime(name);
        info.providers.iter().any(|has| Some(has.as_str()) == full)
    };
    let requested = profile.runtime.providers.iter();
    let names = requested.map(|provider| provider.name.as_str());
    let missing: Vec<&str> = names.filter(|name| !has(name)).collect();
    let seen = format!("the library offers {}", info.providers.join(", "));
    if missing.is_empty() {
        return Some(Finding::ok(CHECK, seen));
    }
    let seen = format!("{seen}; the profile asks for {} too", missing.join(", "));
    let advice = match profile.transport {
        TransportKind::Local | TransportKind::Probe => {
            "name a library that has them in ORT_DYLIB_PATH, or take another profile".to_owned()
        }
        TransportKind::Tcp => {
            "put a library that has them beside the agent on the device, and start that anew"
                .to_owned()
        }
        TransportKind::Ssh | TransportKind::Adb => format!(
            "deploy a library that has them: `graphprune device deploy {device} --runtime FILE`"
        ),
    };
    Some(if profile.runtime.strict {
        Finding::error(CHECK, seen, advice)
    } else {
        Finding::warning(
            CHECK,
            format!("{seen}, and other providers would run in their place"),
            advice,
        )
    })
}

/// Checks that all layers of confinement offered by the kernel are in effect.
fn confinement(info: &DeviceInfo, profile: &Profile) -> Finding {
    const CHECK: &str = "confinement";
    let in_effect = info.confinement.join(", ");
    let missing = |offered: bool| -> Vec<String> {
        let all = info.unconfined.iter();
        all.filter(|missing| missing.offered == offered)
            .map(|missing| format!("{} ({})", missing.layer, missing.reason))
            .collect()
    };
    let (broken, not_offered) = (missing(true), missing(false));
    let without = [&broken[..], &not_offered].concat().join("; ");
    if in_effect.is_empty() {
        return Finding::warning(
            CHECK,
            "the agent reports no confinement of its workers",
            "measure only models that you trust, or use a newer kernel",
        );
    }
    let seen = format!("{in_effect}; not in effect: {without}");
    if !broken.is_empty() && profile.agent.allow_unconfined {
        return Finding::warning(
            CHECK,
            seen,
            "models run in spite of it (allow_unconfined in the profile's [agent]): measure only models that you trust",
        );
    }
    if !broken.is_empty() {
        return Finding::error(
            CHECK,
            seen,
            "the kernel offers the missing layers, and no model runs without them: remove the cause, or, for models that you \
             trust, set allow_unconfined = true in the profile's [agent] (an agent that runs by itself: --allow-unconfined)",
        );
    }
    if !not_offered.is_empty() {
        return Finding::warning(
            CHECK,
            seen,
            "measure only models that you trust, or use a kernel that has them",
        );
    }
    Finding::ok(CHECK, in_effect)
}

/// Checks the clock, which only dates measurements.
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

/// Checks frequencies, throttling, temperatures, load, memory, space and battery.
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
            "the system reports no governors or frequencies",
            "this is normal in a virtual machine; rely on ratios to a reference",
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
    let required = profile
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
        used(core)
            && of_core
                .governor
                .as_deref()
                .is_some_and(|has| has != required)
    });
    if others {
        let advice = match profile.transport {
            TransportKind::Adb => {
                "without root it cannot be changed; the measurement warms up and interleaves"
                    .to_owned()
            }
            _ => format!(
                "on the device: `echo {required} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`"
            ),
        };
        return Finding::warning(CHECK, text, advice);
    }
    Finding::ok(CHECK, text)
}

/// Reports what a measurement of a small network found out about a board.
pub(super) fn of_board(measured: &Measurement, board: &BoardInfo) -> Vec<Finding> {
    let chip = format!(
        "{} answers (CPUID {:#010x}) through {}, and runs the firmware {}",
        board.chip_in_words(),
        board.cpuid,
        board.probe_in_words(),
        &board.firmware_sha256.to_string()[..12]
    );
    let declared = board.declared_hz as f64 / 1e6;
    let time = format!("a small network takes {:.3} ms", measured.median_ns / 1e6);
    let clock = match board.measured_hz {
        _ if board.simulated => Finding::warning(
            "clock",
            format!(
                "{} follows an emulator's instructions; {time}",
                board.counter
            ),
            "such times are no latencies: they are marked as simulated, and baselines refuse them",
        ),
        Some(hz) => Finding::ok(
            "clock",
            format!(
                "{:.3} MHz by this machine's clock, {declared:.3} MHz in the profile, counted by {}; {time}",
                hz / 1e6,
                board.counter
            ),
        ),
        None => Finding::error(
            "clock",
            format!("the agent did not verify the profile's {declared:.3} MHz"),
            "deploy the agent of this version",
        ),
    };
    vec![Finding::ok("board", chip), clock]
}

/// The throttling bits of the Raspberry Pi's firmware: the lowest are current, those sixteen bits
/// higher have been set since the start.
const FIRMWARE: [(u32, &str); 4] = [
    (0, "the voltage is too low"),
    (1, "the frequency is capped"),
    (2, "the cores are throttled"),
    (3, "the soft limit of the temperature is reached"),
];

fn throttling(state: &DeviceState) -> Option<Finding> {
    const CHECK: &str = "throttling";
    let set = |shift: u32| -> Vec<&str> {
        let bits = state.firmware_throttled.unwrap_or(0) >> shift;
        let set = FIRMWARE.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
        set.map(|(_, what)| *what).collect()
    };
    let (now, before) = (set(0), set(16));
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
    let reported = state.firmware_throttled.is_some() || counts.count() > 0;
    reported.then(|| Finding::ok(CHECK, "not since the start"))
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

/// Checks the ratio of a network to itself.
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
            "the order of the runs affects the result: fix the other findings",
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
mod tests;
