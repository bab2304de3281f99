use super::*;
use agent_protocol::stats::Interval;
use agent_protocol::{Contention, DeviceState, Ratio, RuntimeInfo, Sha256, Verdict};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::Model;

/// One process's answer of one model.
fn measurement(name: &str, median_ns: f64, ratio: Option<f64>) -> Measurement {
    Measurement {
        name: name.into(),
        model_sha256: Sha256::of(name.as_bytes()),
        reference_sha256: None,
        median_ns,
        ci95_ns: (median_ns, median_ns),
        min_ns: median_ns as u64,
        p5_ns: median_ns,
        p25_ns: median_ns,
        p50_ns: median_ns,
        p75_ns: median_ns,
        p95_ns: median_ns,
        p99_ns: median_ns,
        samples_ns: vec![median_ns as u64; 6],
        block_runs: 1,
        warmup_ns: vec![1],
        preempted_ns: vec![],
        ratio: ratio.map(|ratio| Ratio {
            interval: (ratio, ratio, ratio).into(),
            low_end: ratio,
            rounds: 6,
        }),
        peak_memory_bytes: None,
        before: DeviceState::default(),
        after: DeviceState::default(),
        runtime: RuntimeInfo {
            version: "1".into(),
            provider: "CPUExecutionProvider".into(),
            threads: 1,
            spinning: false,
            cores: Vec::new(),
            nice: 0,
            node_providers: Vec::new(),
            options: agent_protocol::RuntimeOptions::default(),
            confinement: Vec::new(),
            board: None,
        },
        verdict: Verdict::Valid,
        notes: Vec::new(),
        taken_unix_ns: 1,
        load_ns: 1,
        sentinel: None,
        contention: None,
        reference_excess_rel: None,
        others_cores: None,
        processes: Vec::new(),
    }
}

fn request() -> MeasureRequest {
    MeasureRequest {
        models: vec![Model::new("pruned", *b"p")],
        reference: Some(Model::new("original", *b"o")),
        evidence: Evidence::Full,
        ..MeasureRequest::default()
    }
    .thorough(4.0)
}

/// A pair of a model and its reference, whose ratio is `ratio`.
fn pair(ratio: f64) -> Vec<Measurement> {
    vec![
        measurement("pruned", 1000.0 * ratio, Some(ratio)),
        measurement("original", 1000.0, None),
    ]
}

fn contended(mut answer: Vec<Measurement>) -> Vec<Measurement> {
    for m in &mut answer {
        m.contention = Some(Contention {
            waiting_ns: 30,
            elapsed_ns: 100,
        });
    }
    answer
}

fn unsteady(mut answer: Vec<Measurement>) -> Vec<Measurement> {
    for m in &mut answer {
        m.sentinel = Some(agent_protocol::Sentinel {
            before_ns: 1000,
            after_ns: 1200,
        });
    }
    answer
}

fn throttled(mut answer: Vec<Measurement>) -> Vec<Measurement> {
    for m in &mut answer {
        m.before.firmware_throttled = Some(0);
        m.after.firmware_throttled = Some(4);
    }
    answer
}

fn invalid(mut answer: Vec<Measurement>) -> Vec<Measurement> {
    answer[0].verdict = Verdict::Invalid {
        reason: "too few rounds".into(),
    };
    answer
}

/// Measures once by `process`, which gets the number of the process, and returns the results with
/// the requests.
fn run(process: impl Fn(usize) -> Vec<Measurement>) -> (Vec<Measurement>, Vec<MeasureRequest>) {
    run_with(0, process)
}

/// As [`run`], with retries of an interval that is too wide.
fn run_with(
    retries: u32,
    process: impl Fn(usize) -> Vec<Measurement>,
) -> (Vec<Measurement>, Vec<MeasureRequest>) {
    let mut requests = Vec::new();
    let results = measure_over_processes(&request(), retries, |one| {
        requests.push(one.clone());
        Ok(process(requests.len() - 1))
    });
    (results.unwrap(), requests)
}

#[test]
fn eight_processes_that_agree_are_enough_and_alternate_their_order() {
    let (results, requests) = run(|i| pair(0.5 + 0.001 * ((5 * i) % 8) as f64));
    let reversed: Vec<bool> = requests.iter().map(|r| r.reversed).collect();
    assert_eq!(
        reversed,
        [false, true, false, true, false, true, false, true]
    );
    let evidence: Vec<Evidence> = requests.iter().map(|r| r.evidence).collect();
    assert_eq!(evidence[0], Evidence::Full);
    assert!(evidence[1..].iter().all(|e| *e == Evidence::Quick));
    assert!(requests.iter().all(|r| r.processes == Processes::ONE));
    let [pruned, original] = &results[..] else {
        panic!("{results:?}")
    };
    let Interval { value, low, high } = pruned.ratio.unwrap().interval;
    assert!((value - 0.5035).abs() < 1e-5 && low < 0.502 && 0.505 < high);
    assert_eq!((pruned.processes.len(), original.processes.len()), (8, 8));
    assert_eq!(
        (pruned.samples_ns.len(), pruned.processes[4].samples),
        (48, 6)
    );
    assert_eq!(pruned.processes[3].ratio, Some(0.507));
    assert!(pruned.is_valid() && original.is_valid());
    let times = pruned.ci95_ns;
    assert!(times.0 < pruned.median_ns && pruned.median_ns < times.1);
}

#[test]
fn the_cores_that_others_keep_busy_are_the_mean_over_processes() {
    let (results, _) = run(|i| {
        let mut answer = pair(0.5 + 0.001 * ((5 * i) % 8) as f64);
        for m in &mut answer {
            m.others_cores = Some(if i == 0 { 1.0 } else { 0.2 });
        }
        answer
    });
    assert_eq!(results[1].processes[0].others_cores, Some(1.0));
    let mean = results[1].others_cores.unwrap();
    assert!((mean - 0.3).abs() < 1e-9, "{mean}");
}

#[test]
fn processes_that_differ_are_followed_by_more() {
    let noisy = |i: usize| pair(if i.is_multiple_of(3) { 0.515 } else { 0.5 });
    let (results, requests) = run(noisy);
    assert!([12, 16].contains(&requests.len()), "{}", requests.len());
    assert!(results[0].ratio.unwrap().interval.half_width_rel() <= 0.01);
    let (results, requests) = run(|i| pair(if i % 2 == 0 { 0.4 } else { 0.6 }));
    assert_eq!(
        requests.len(),
        32,
        "four times as many for a valid interval"
    );
    let Verdict::Invalid { reason } = &results[0].verdict else {
        panic!("an interval of ±10 % counts")
    };
    assert!(
        reason.contains("over 32 of 32 processes") && reason.contains("effort"),
        "{reason}"
    );
}

#[test]
fn an_interval_that_is_too_wide_is_followed_by_more_processes_until_it_counts() {
    // One of eleven processes is far from the others, but few are in the mean at first.
    let (results, requests) = run_with(2, |i| pair(if i % 11 == 3 { 0.9 } else { 0.5 }));
    assert!(
        (33..96).contains(&requests.len()),
        "{} processes",
        requests.len()
    );
    assert!(results[0].is_valid());
    let half = results[0].ratio.unwrap().interval.half_width_rel();
    assert!((0.01..=0.06).contains(&half), "{half}");
    // More processes are of no use where the device itself changes, or nothing is wide.
    assert_eq!(run_with(2, |_| unsteady(pair(0.5))).1.len(), 32);
    assert_eq!(run_with(2, |_| invalid(pair(0.5))).1.len(), 8);
    // Without an end, the patience has one, and what a store holds of a measurement.
    for (retries, expected) in [(2, 96), (90, bounds::MAX_PROCESSES)] {
        let (results, requests) = run_with(retries, |i| pair(if i % 2 == 0 { 0.01 } else { 0.99 }));
        assert_eq!((requests.len(), results[0].is_valid()), (expected, false));
    }
}

#[test]
fn processes_that_wait_for_a_core_are_replaced() {
    let sometimes = |i: usize| {
        if i.is_multiple_of(3) {
            contended(pair(0.7))
        } else {
            pair(0.5)
        }
    };
    let (results, requests) = run(sometimes);
    assert_eq!(requests.len(), 12);
    assert_eq!(results[0].processes.len(), 8);
    assert!((results[0].ratio.unwrap().interval.value - 0.5).abs() < 1e-9);
    assert!(results[0].notes[0].contains("4 of 12") && results[0].notes[0].contains("left out"));
    let (results, requests) = run(|_| contended(pair(0.5)));
    assert_eq!((requests.len(), results[0].processes.len()), (16, 16));
    assert!(results[0].notes[0].contains("used all the same"));
}

#[test]
fn processes_without_a_figure_are_replaced_and_named_when_there_are_too_many() {
    let once = |i: usize| {
        if i == 1 {
            invalid(pair(0.9))
        } else {
            pair(0.5)
        }
    };
    let (results, requests) = run(once);
    assert_eq!((requests.len(), results[0].processes.len()), (9, 8));
    assert!(results[0].is_valid());
    let (results, requests) = run(|_| invalid(pair(0.5)));
    assert_eq!(requests.len(), 8);
    let Verdict::Invalid { reason } = &results[0].verdict else {
        panic!("no process has a figure")
    };
    assert!(
        reason.contains("0 of 8") && reason.contains("too few rounds"),
        "{reason}"
    );
    assert!(results[0].processes.is_empty());
}

/// Processes are faster or slower as a whole. The interval must hold the mean of all processes,
/// although its own width decides when to stop, which costs a nominal 95 % some coverage.
#[test]
fn the_interval_holds_the_mean_of_all_processes_as_often_as_it_says() {
    let normal = |random: &mut ChaCha8Rng| -> f64 { random.sample(StandardNormal) };
    let check = |name: &str, spread: &dyn Fn(&mut ChaCha8Rng) -> f64, mean: f64, least: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let held = (0..2000)
            .filter(|_| {
                let results = measure_over_processes(&request(), 0, |_| {
                    Ok(pair(0.5 * spread(&mut random).exp()))
                });
                let ratio = results.unwrap()[0].ratio.unwrap().interval;
                let truth = 0.5 * mean.exp();
                ratio.low <= truth && truth <= ratio.high
            })
            .count();
        assert!(held >= least, "{name}: {held} of 2000");
    };
    check("1 % normal", &|r| 0.01 * normal(r), 0.0, 1870);
    check("2 % normal", &|r| 0.02 * normal(r), 0.0, 1840);
    let clusters = |r: &mut ChaCha8Rng| {
        let slow = if r.random::<f64>() < 0.3 { 0.02 } else { 0.0 };
        slow + 0.003 * normal(r)
    };
    check("two clusters", &clusters, 0.006, 1830);
}

#[test]
fn a_time_without_a_reference_is_valid_however_much_the_pace_changes() {
    let alone = MeasureRequest {
        models: vec![Model::new("m", *b"m")],
        reference: None,
        ..request()
    };
    let mut number = 0;
    let results = measure_over_processes(&alone, 0, |_| {
        number += 1;
        let ns = if number % 2 == 0 { 1000.0 } else { 2000.0 };
        Ok(vec![measurement("m", ns, None)])
    });
    let m = &results.unwrap()[0];
    assert!(m.is_valid() && m.processes.len() == 32);
    assert!(
        m.ci95_ns.0 < 1300.0 && m.ci95_ns.1 > 1500.0,
        "{:?}",
        m.ci95_ns
    );
}

#[test]
fn an_answer_without_all_models_is_refused() {
    let short = measure_over_processes(&request(), 0, |_| Ok(pair(0.5)[..1].to_vec()));
    assert!(short.is_err());
}

#[test]
fn a_process_in_which_the_device_changed_its_pace_is_replaced() {
    for disturb in [unsteady, throttled] {
        let (results, requests) = run(|i| match i {
            0 | 3 => disturb(pair(0.9)),
            _ => pair(0.5 + 0.001 * ((5 * i) % 8) as f64),
        });
        assert_eq!(requests.len(), 10);
        let pruned = &results[0];
        assert!(pruned.is_valid() && pruned.processes.len() == 8);
        assert!(pruned.ratio.unwrap().interval.high < 0.51);
        let notes = pruned.notes.join("; ");
        assert!(
            notes.contains("in 2 of 10") && notes.contains("left out"),
            "{notes}"
        );
    }
}

#[test]
fn a_device_that_changes_its_pace_all_the_time_gives_no_valid_ratio() {
    for disturb in [unsteady, throttled] {
        let (results, requests) = run(|i| match i {
            0..7 => pair(0.5),
            _ => disturb(pair(0.5)),
        });
        assert_eq!(requests.len(), 32);
        let Verdict::Invalid { reason } = &results[0].verdict else {
            panic!("{:?}", results[0].verdict)
        };
        for needle in ["in 25 of 32", "8 steady ones", "let the device cool"] {
            assert!(reason.contains(needle), "{reason}");
        }
    }
}

#[test]
fn a_device_whose_profile_accepts_changes_of_pace_is_measured_while_it_changes() {
    let mut request = request();
    request.sampling.drift_accept_rel = 1.0;
    let measure = |_: &MeasureRequest| Ok(unsteady(pair(0.5)));
    let results = measure_over_processes(&request, 0, measure).unwrap();
    assert!(results[0].is_valid(), "{:?}", results[0].verdict);
}

/// A pair beside a reference that takes so much of its usual time.
fn paced(times: f64, ratio: f64) -> Vec<Measurement> {
    vec![
        measurement("pruned", 1000.0 * times * ratio, Some(ratio)),
        measurement("original", 1000.0 * times, None),
    ]
}

#[test]
fn processes_beside_a_busy_twin_of_the_core_are_left_out() {
    let (results, requests) = run(|i| match i % 2 {
        0 => paced(1.4, 0.45),
        _ => paced(
            1.0 + 0.01 * (i % 3) as f64,
            0.5 + 0.001 * ((5 * i) % 8) as f64,
        ),
    });
    let pruned = &results[0];
    assert!(pruned.is_valid());
    // Half as many as asked for are enough, since their interval is narrow.
    assert_eq!((pruned.processes.len(), requests.len()), (4, 8));
    let Interval { low, high, .. } = pruned.ratio.unwrap().interval;
    assert!(0.499 < low && high < 0.51, "{low} {high}");
    assert_eq!(results[1].processes.len(), 4);
    let notes = pruned.notes.join("; ");
    assert!(
        notes.contains("10 % slower than in the fastest") && notes.contains("left out"),
        "{notes}"
    );
}

#[test]
fn one_process_that_is_fast_by_luck_does_not_outweigh_the_others() {
    let (results, _) = run(|i| match i {
        3 => paced(0.8, 0.6),
        _ => paced(1.0, 0.5 + 0.001 * ((5 * i) % 8) as f64),
    });
    let pruned = &results[0];
    assert!(pruned.processes.len() >= 8 && pruned.processes[3].ratio == Some(0.6));
    assert!(pruned.ratio.unwrap().interval.value < 0.53);
    let notes = pruned.notes.join("; ");
    assert!(notes.contains("used all the same"), "{notes}");
}

#[test]
fn where_the_few_fast_processes_differ_widely_all_calm_ones_count() {
    let (results, _) = run(|i| match i % 16 {
        0 => paced(0.8, 0.45),
        8 => paced(0.8, 0.56),
        _ => paced(1.0, 0.5 + 0.001 * ((5 * i) % 8) as f64),
    });
    let pruned = &results[0];
    assert!(pruned.is_valid(), "{:?}", pruned.verdict);
    assert_eq!(pruned.processes.len(), 32);
    let Interval { value, .. } = pruned.ratio.unwrap().interval;
    assert!((value - 0.504).abs() < 0.005, "{value}");
    let notes = pruned.notes.join("; ");
    assert!(notes.contains("used all the same"), "{notes}");
}

#[test]
fn at_the_limit_half_as_many_fast_processes_as_asked_for_are_enough() {
    let (results, requests) = run(|i| match i % 8 {
        0..4 => contended(paced(1.0, 0.9)),
        4..7 => paced(1.4, 0.9),
        _ => paced(1.0, 0.5 + 0.0005 * (i / 8) as f64),
    });
    let pruned = &results[0];
    assert_eq!((pruned.processes.len(), requests.len()), (4, 32));
    assert!(pruned.is_valid() && pruned.ratio.unwrap().interval.high < 0.52);
    assert!(
        !pruned.notes.join("; ").contains("used all the same"),
        "{:?}",
        pruned.notes
    );
}
