use agent_protocol::{Battery, CoreState, MissingLayer, ThermalZone};

use super::*;
use crate::Grade;

fn check(findings: &[Finding], name: &str, grade: Grade, needle: &str) {
    let finding = findings.iter().find(|finding| finding.check == name);
    let finding = finding.unwrap_or_else(|| panic!("no {name} in {findings:?}"));
    assert_eq!(finding.grade, grade, "{finding:?}");
    let text = format!("{} {}", finding.seen, finding.advice);
    assert!(text.contains(needle), "{finding:?}");
    assert_eq!(finding.advice.is_empty(), grade == Grade::Ok, "{finding:?}");
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
    let findings = of_state(&bad, &pi);
    check(
        &findings,
        "governor",
        Grade::Warning,
        "ondemand at 2.40 GHz (cores 1)",
    );
    check(&findings, "temperature", Grade::Error, "allows 70");
    check(&findings, "load", Grade::Warning, "top");
    check(&findings, "memory", Grade::Warning, "105 MB");
    check(&findings, "space", Grade::Error, "1 MB");
    check(&findings, "battery", Grade::Warning, "10 %, not charging");
    assert!(
        !findings
            .iter()
            .any(|finding| finding.check == "throttling" && finding.grade != Grade::Ok)
    );
    let nothing = of_state(&DeviceState::default(), &pi);
    check(&nothing, "governor", Grade::Warning, "reports no");
    check(&nothing, "temperature", Grade::Warning, "no temperature");
}

#[test]
fn firmware_bits_are_current_or_past() {
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
fn only_the_cores_in_use_need_the_governor() {
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
fn a_missing_provider_another_version_and_a_missing_core_are_reported() {
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
    let findings = of_info(&info, &jetson, "bench");
    check(&findings, "agent", Grade::Warning, "device deploy bench");
    let needle = "asks for tensorrt too";
    check(&findings, "providers", Grade::Warning, needle);
    let rock = Profile::find("rock-5b").unwrap();
    check(
        &of_info(&info, &rock, "bench"),
        "cores",
        Grade::Error,
        "core 6",
    );
}

#[test]
fn each_provider_missing_from_the_library_is_named() {
    let of = |name: &str, strict: bool| {
        let info = DeviceInfo {
            providers: vec!["CPUExecutionProvider".into()],
            ..DeviceInfo::default()
        };
        let text = format!(
            "name = \"x\"\ntransport = \"local\"\n[runtime]\nstrict = {strict}\n[[runtime.providers]]\nname = \"{name}\""
        );
        of_info(&info, &Profile::parse(&text, "x").unwrap(), "bench")
    };
    for name in Provider::NAMES {
        let (lenient, strict) = match name {
            "cpu" => (Grade::Ok, Grade::Ok),
            _ => (Grade::Warning, Grade::Error),
        };
        let words = if name == "cpu" { "offers" } else { name };
        check(&of(name, false), "providers", lenient, words);
        check(&of(name, true), "providers", strict, words);
    }
    let openvino = Profile::find("openvino-local").unwrap();
    assert!(
        openvino
            .runtime
            .providers
            .iter()
            .any(|p| p.name == "openvino")
    );
}

#[test]
fn each_missing_layer_of_confinement_is_named_with_its_reason() {
    let missing = |layer: &str, reason: &str, offered| MissingLayer {
        layer: layer.into(),
        reason: reason.into(),
        offered,
    };
    let mut profile = Profile::local().unwrap();
    let info = |unconfined: Vec<MissingLayer>| DeviceInfo {
        confinement: vec!["limits".into()],
        unconfined,
        ..DeviceInfo::default()
    };
    let of = |unconfined| of_info(&info(unconfined), &profile, "bench");
    let old = || missing("files (landlock)", "an old kernel", false);
    let broken = || missing("no-capabilities", "2 other threads", true);
    check(&of(vec![]), "confinement", Grade::Ok, "limits");
    let seen = "limits; not in effect: files (landlock) (an old kernel)";
    check(&of(vec![old()]), "confinement", Grade::Warning, seen);
    let seen = "no-capabilities (2 other threads); files (landlock)";
    check(
        &of(vec![old(), broken()]),
        "confinement",
        Grade::Error,
        seen,
    );
    profile.agent.allow_unconfined = true;
    let allowed = of_info(&info(vec![broken()]), &profile, "bench");
    check(&allowed, "confinement", Grade::Warning, "no-capabilities");
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
