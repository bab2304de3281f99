use super::*;
use agent_protocol::{Conditions, CoreState, Evidence, Limits, Sampling, Sha256, ThermalZone};

fn job(reference: bool) -> MeasureJob {
    let model = |name: &str| ModelRef {
        name: name.into(),
        sha256: Sha256::of(name.as_bytes()),
        inputs: Vec::new(),
    };
    MeasureJob {
        models: vec![model("a")],
        reference: reference.then(|| model("base")),
        sampling: Sampling::default(),
        limits: Limits::default(),
        evidence: Evidence::Quick,
        runtime: RuntimeOptions::default(),
        conditions: Conditions::default(),
        reversed: false,
    }
}

fn series(samples_ns: Vec<u64>, finite: bool) -> wire::WorkerSeries {
    wire::WorkerSeries {
        warmup_ns: vec![9],
        samples_ns,
        block_runs: 1,
        finite,
        load_ns: 1,
        preempted_ns: vec![],
        node_providers: vec![],
    }
}

fn calm() -> Surroundings {
    Surroundings {
        before: DeviceState::default(),
        after: DeviceState::default(),
        elapsed: Duration::ZERO,
    }
}

fn verdicts(
    job: &MeasureJob,
    series: Vec<wire::WorkerSeries>,
    around: &Surroundings,
) -> Vec<Verdict> {
    let samples = wire::WorkerSamples {
        series,
        ..Default::default()
    };
    measurements(job, samples, around)
        .unwrap()
        .into_iter()
        .map(|m| m.verdict)
        .collect()
}

#[test]
fn drift_of_both_is_valid_against_a_reference_and_invalid_alone() {
    let drifting: Vec<u64> = (0..30).map(|round| 1000 + round * 40).collect();
    let half: Vec<u64> = drifting.iter().map(|ns| ns / 2).collect();
    let against = verdicts(
        &job(true),
        vec![series(drifting.clone(), true), series(half, true)],
        &calm(),
    );
    assert_eq!(against, vec![Verdict::Valid, Verdict::Valid]);
    let steps: Vec<u64> = (0..300)
        .map(|round| if round < 140 { 1000 } else { 1500 })
        .collect();
    let mut lenient = job(false);
    lenient.sampling.ci_accept_rel = 10.0;
    let alone = verdicts(&lenient, vec![series(steps, true)], &calm());
    assert!(
        matches!(&alone[0], Verdict::Invalid { reason } if reason.contains("slower")),
        "{alone:?}"
    );
}

#[test]
fn a_verdict_names_its_reason() {
    let steady = || series(vec![1000; 20], true);
    let wild = || {
        series(
            (0..20)
                .map(|i| if i % 2 == 0 { 1000 } else { 3000 })
                .collect(),
            true,
        )
    };
    let check =
        |job: &MeasureJob, all: Vec<wire::WorkerSeries>, around: &Surroundings, needle: &str| {
            let all = verdicts(job, all, around);
            assert!(
                matches!(&all[0], Verdict::Invalid { reason } if reason.contains(needle)),
                "{needle}: {all:?}"
            );
        };
    check(
        &job(true),
        vec![steady(), wild()],
        &calm(),
        "ratio to the reference",
    );
    check(&job(false), vec![wild()], &calm(), "its median");
    check(
        &job(true),
        vec![steady(), series(vec![1000; 20], false)],
        &calm(),
        "not finite",
    );
    let core = |count| DeviceState {
        cores: vec![CoreState {
            throttle_count: Some(count),
            ..CoreState::default()
        }],
        ..DeviceState::default()
    };
    let hot = Surroundings {
        before: core(3),
        after: core(5),
        elapsed: Duration::ZERO,
    };
    check(&job(false), vec![steady()], &hot, "throttled 2 times");
    assert_eq!(
        verdicts(&job(true), vec![steady(), steady()], &hot)[0],
        Verdict::Valid
    );
}

#[test]
fn cores_that_others_keep_busy_leave_out_the_worker_and_are_unknown_where_nothing_is_counted() {
    let check = |busy_ns: [Option<u64>; 2], worker_ns: u64, cores: Option<f64>| {
        let [before, after] = busy_ns.map(|cpu_busy_ns| DeviceState {
            cpu_busy_ns,
            ..DeviceState::default()
        });
        let around = Surroundings {
            before,
            after,
            elapsed: Duration::from_nanos(1000),
        };
        let samples = wire::WorkerSamples {
            series: vec![series(vec![1000; 20], true)],
            cpu_ns: worker_ns,
            ..Default::default()
        };
        let all = measurements(&job(false), samples, &around).unwrap();
        assert_eq!(all[0].others_cores, cores);
    };
    check([Some(500), Some(2500)], 900, Some(1.1));
    check([Some(500), Some(1200)], 900, Some(0.0));
    check([Some(500), None], 900, None);
    check([None, Some(500)], 900, None);
}

#[test]
fn samples_that_do_not_fit_the_job_are_refused() {
    let samples = |series| wire::WorkerSamples {
        series,
        ..Default::default()
    };
    assert!(measurements(&job(true), samples(vec![series(vec![1; 9], true)]), &calm()).is_err());
    assert!(
        measurements(
            &job(false),
            samples(vec![series(vec![1; 5], true)]),
            &calm()
        )
        .is_err()
    );
    let mut no_block = series(vec![1; 9], true);
    no_block.block_runs = 0;
    assert!(measurements(&job(false), samples(vec![no_block]), &calm()).is_err());
}

/// The first measurement of a steady network, with these times of the sentinel and surroundings.
fn one(job: &MeasureJob, sentinel: (u64, u64), around: &Surroundings) -> Measurement {
    let count = job.models.len() + usize::from(job.reference.is_some());
    let samples = wire::WorkerSamples {
        series: (0..count).map(|_| series(vec![1000; 20], true)).collect(),
        sentinel: Some(wire::Sentinel {
            before_ns: sentinel.0,
            after_ns: sentinel.1,
        }),
        notes: vec!["a note of the worker's".into()],
        ..Default::default()
    };
    measurements(job, samples, around).unwrap().swap_remove(0)
}

fn reason(measurement: &Measurement) -> &str {
    match &measurement.verdict {
        Verdict::Valid => "",
        Verdict::Invalid { reason } => reason,
    }
}

#[test]
fn a_changed_pace_of_the_device_is_invalid_alone_and_noted_against_a_reference() {
    let check = |before, after, noted: bool, invalid: &str| {
        for reference in [false, true] {
            let measured = one(&job(reference), (before, after), &calm());
            let has_note = measured
                .notes
                .iter()
                .any(|note| note.contains("fixed workload"));
            assert_eq!(has_note, noted, "{:?}", measured.notes);
            let objected = reason(&measured).contains("fixed workload");
            assert_eq!(
                objected,
                !invalid.is_empty() && !reference,
                "{:?}",
                measured.verdict
            );
            assert!(
                reference || reason(&measured).contains(invalid),
                "{:?}",
                measured.verdict
            );
            assert_eq!(measured.sentinel.unwrap().after_ns, after);
        }
    };
    check(4_000_000, 4_300_000, false, "");
    // A quarter is the default of drift_accept_rel.
    check(4_000_000, 4_990_000, true, "");
    check(4_000_000, 5_120_000, true, "28 % slower");
    check(4_000_000, 2_000_000, true, "50 % faster");
}

#[test]
fn a_device_that_is_hot_at_the_end_makes_it_invalid_even_against_a_reference() {
    let mut hot = calm();
    hot.after.thermal = vec![ThermalZone {
        name: "cpu-thermal".into(),
        millicelsius: 81_000,
    }];
    let mut limited = job(true);
    assert_eq!(reason(&one(&limited, (1, 1), &hot)), "");
    limited.conditions.max_millicelsius = Some(81_000);
    assert_eq!(reason(&one(&limited, (1, 1), &hot)), "");
    limited.conditions.max_millicelsius = Some(80_000);
    let measured = one(&limited, (1, 1), &hot);
    assert!(
        reason(&measured).contains("`cpu-thermal` has 81.0 °C"),
        "{:?}",
        measured.verdict
    );
}

#[test]
fn a_jump_of_the_clock_is_noted_and_changes_no_share() {
    let check = |before: u64, after: u64, note: &str| {
        let mut around = calm();
        around.elapsed = Duration::from_secs(10);
        around.before.taken_unix_ns = before * 1_000_000_000;
        around.after.taken_unix_ns = after * 1_000_000_000;
        (around.before.cpu_busy_ns, around.after.cpu_busy_ns) = (Some(0), Some(5_000_000_000));
        let measured = one(&job(false), (1, 1), &around);
        let all = measured.notes.join("; ");
        assert_eq!(all.contains("jumped"), !note.is_empty(), "{all}");
        assert!(all.contains(note) && all.contains("kept 0.5 of"), "{all}");
        assert_eq!(measured.verdict, Verdict::Valid);
        assert_eq!(measured.taken_unix_ns, after * 1_000_000_000);
    };
    check(1000, 1010, "");
    check(1000, 1011, "");
    check(1000, 1012, "jumped by 2.0 s");
    check(1000, 400, "jumped by -610.0 s");
}

#[test]
fn throttling_by_the_firmware_counts_when_it_is_new_or_continues() {
    let check = |before: Option<u32>, after: Option<u32>, invalid: bool| {
        let mut around = calm();
        (
            around.before.firmware_throttled,
            around.after.firmware_throttled,
        ) = (before, after);
        let measured = one(&job(false), (1, 1), &around);
        assert_eq!(
            reason(&measured).contains("firmware"),
            invalid,
            "{before:?} {after:?}"
        );
    };
    check(None, None, false);
    check(Some(0), Some(0), false);
    check(Some(0x50000), Some(0x50000), false);
    check(Some(0x50000), Some(0x50005), true);
    check(Some(0), Some(0x40000), true);
    check(Some(0x4), Some(0x40000), true);
}

#[test]
fn the_provider_is_the_first_that_ran_a_node() {
    let provider = |name: &str| agent_protocol::Provider {
        name: name.into(),
        options: Default::default(),
    };
    let check = |requested: &[&str], ran: &[&str], expected: &str| {
        let options = RuntimeOptions {
            providers: requested.iter().map(|name| provider(name)).collect(),
            ..RuntimeOptions::default()
        };
        let node = |name: &&str| NodeProvider {
            node: "n".into(),
            op_type: "Conv".into(),
            provider: (*name).to_owned(),
            time_ns: None,
        };
        let nodes: Vec<NodeProvider> = ran.iter().map(node).collect();
        assert_eq!(first_used(&options, &nodes), expected);
    };
    let (cpu, xnnpack) = ("CPUExecutionProvider", "XnnpackExecutionProvider");
    check(&[], &[], cpu);
    check(&["cpu"], &[cpu], cpu);
    check(&["qnn", "xnnpack"], &[cpu, xnnpack], xnnpack);
    check(&["qnn"], &[cpu], cpu);
}

#[test]
fn notes_of_the_worker_are_kept() {
    let notes = one(&job(false), (1, 1), &calm()).notes;
    assert!(
        notes.iter().any(|note| note == "a note of the worker's"),
        "{notes:?}"
    );
}

/// Whatever a compromised worker sends, the summary is an error, an invalid measurement or one
/// with usable figures.
#[test]
fn no_samples_of_a_worker_lead_to_a_valid_measurement_without_figures_or_to_a_panic() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let mut valid = 0;
    for round in 0..20_000 {
        let time = |random: &mut rand_chacha::ChaCha8Rng| match random.random_range(0..12) {
            0 => 0,
            1 => u64::MAX,
            2 => random.random(),
            _ => 1000 + random.random_range(0..20),
        };
        let hostile = round % 2 == 0;
        let mut one = || {
            let count = random.random_range(0..40);
            let samples = (0..count).map(|_| match hostile {
                true => time(&mut random),
                false => 1000 + random.random_range(0..20),
            });
            wire::WorkerSeries {
                samples_ns: samples.collect(),
                block_runs: random.random_range(0..4),
                finite: random.random_range(0..8) > 0,
                ..series(Vec::new(), true)
            }
        };
        let all: Vec<wire::WorkerSeries> = (0..2).map(|_| one()).collect();
        let samples = wire::WorkerSamples {
            series: all,
            cpu_ns: random.random(),
            sentinel: Some(wire::Sentinel {
                before_ns: time(&mut random),
                after_ns: time(&mut random),
            }),
            contention: Some(wire::Contention {
                waiting_ns: time(&mut random),
                elapsed_ns: time(&mut random),
            }),
            ..Default::default()
        };
        let Ok(all) = measurements(&job(true), samples, &calm()) else {
            continue;
        };
        for m in all.iter().filter(|m| m.verdict == Verdict::Valid) {
            valid += 1;
            let (low, high) = m.ci95_ns;
            assert!(m.median_ns.is_finite() && m.median_ns > 0.0, "{m:?}");
            assert!(low <= m.median_ns && m.median_ns <= high, "{m:?}");
            if let Some(ratio) = m.ratio {
                let of = ratio.interval;
                assert!(
                    0.0 < of.low && of.low <= of.value && of.value <= of.high,
                    "{m:?}"
                );
                assert!(of.high.is_finite(), "{m:?}");
            }
        }
    }
    assert!(valid > 1000, "{valid}");
}
