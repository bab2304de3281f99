//! Series of a device with known latencies.

use latency::stats::Interval;
use latency::{
    BoardInfo, DeviceInfo, DeviceState, Evidence, LatencyError, LatencySource, MeasureRequest,
    Measurement, Model, Profile, Ratio, RuntimeInfo, RuntimeOptions, Sha256, Verdict,
};
use regression::{
    Baseline, BaselineFolder, Device, Guard, ModelPair, Series, SeriesConfig, Verdict as Judged,
    measure_series,
};

/// A device on which a network takes one nanosecond per byte of its file.
struct ByteDevice {
    /// The relative advantage of the network loaded second.
    second_faster: f64,
    /// The numbers, from 1, of the requests with an invalid result.
    invalid: Vec<usize>,
    requests: usize,
    /// Whether it is an emulated board.
    simulated: bool,
}

fn measurement(model: &Model, reference: Option<(Sha256, f64)>, ns: f64) -> Measurement {
    Measurement {
        name: model.name().to_owned(),
        model_sha256: model.sha256(),
        reference_sha256: reference.map(|(digest, _)| digest),
        median_ns: ns,
        ci95_ns: (ns, ns),
        min_ns: 1,
        p5_ns: ns,
        p25_ns: ns,
        p50_ns: ns,
        p75_ns: ns,
        p95_ns: ns,
        p99_ns: ns,
        samples_ns: vec![ns as u64; 6],
        block_runs: 1,
        warmup_ns: Vec::new(),
        preempted_ns: Vec::new(),
        ratio: reference.map(|(_, of)| Ratio {
            interval: Interval::exact(ns / of),
            low_end: ns / of,
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
            options: RuntimeOptions::default(),
            confinement: Vec::new(),
            board: None,
        },
        verdict: Verdict::Valid,
        notes: Vec::new(),
        taken_unix_ns: 9,
        load_ns: 1,
        sentinel: None,
        contention: None,
        reference_excess_rel: None,
        others_cores: None,
        processes: Vec::new(),
    }
}

impl LatencySource for ByteDevice {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        self.requests += 1;
        let bytes = |model: &Model| model.onnx().len() as f64;
        let model = &request.models[0];
        let reference = request.reference.as_ref();
        let mut candidate = measurement(
            model,
            reference.map(|r| (r.sha256(), bytes(r))),
            bytes(model) * (1.0 - self.second_faster),
        );
        if self.invalid.contains(&self.requests) {
            candidate.verdict = Verdict::Invalid {
                reason: "a storm".into(),
            };
        }
        if self.simulated {
            candidate.runtime.board = Some(BoardInfo {
                chip: "emulated-m4".into(),
                chip_id: None,
                probe: "a bridge".into(),
                probe_firmware: None,
                cpuid: 0x410f_c241,
                firmware_sha256: Sha256::of(b"firmware"),
                counter: "SysTick".into(),
                declared_hz: 25_000_000,
                measured_hz: None,
                simulated: true,
            });
        }
        let mut base = reference.map(|r| measurement(r, None, bytes(r)));
        if request.evidence == Evidence::Full {
            candidate.peak_memory_bytes = Some(10 * model.onnx().len() as u64);
            if let (Some(base), Some(of)) = (&mut base, reference) {
                base.peak_memory_bytes = Some(10 * of.onnx().len() as u64);
            }
        }
        Ok(std::iter::once(candidate).chain(base).collect())
    }

    fn describe(&self) -> DeviceInfo {
        DeviceInfo::default()
    }
}

fn model(bytes: usize) -> Model {
    Model::new("net", vec![0; bytes])
}

fn series(new: usize, old: Option<usize>, second_faster: f64, invalid: &[usize]) -> Series {
    let device = ByteDevice {
        second_faster,
        invalid: invalid.to_vec(),
        requests: 0,
        simulated: false,
    };
    series_of(device, new, old)
}

fn series_of(mut device: ByteDevice, new: usize, old: Option<usize>) -> Series {
    let profile = Profile::local().unwrap();
    let config = SeriesConfig {
        min_processes: 6,
        max_processes: 6,
        ..SeriesConfig::default()
    };
    let (new, old) = (model(new), old.map(model));
    let pair = ModelPair {
        model: &new,
        reference: old.as_ref(),
    };
    measure_series(&mut device, &profile, pair, &config, |_, _| {}).unwrap()
}

#[test]
fn the_advantage_of_a_place_in_the_worker_cancels() {
    let check = |new: usize, old: usize, second_faster: f64| {
        let change = series(new, Some(old), second_faster, &[]).change().unwrap();
        let truth = new as f64 / old as f64 - 1.0;
        assert!(
            (change.estimate.value - truth).abs() < 1e-12,
            "{change:?}, not {truth}"
        );
        assert!(
            change.estimate.low <= truth && truth <= change.estimate.high,
            "{change:?}"
        );
        assert_eq!(change.processes, 6);
    };
    check(10_000, 10_000, 0.0);
    check(10_000, 10_000, 0.02);
    check(10_500, 10_000, 0.02);
    check(9_000, 10_000, -0.01);
}

#[test]
fn latencies_are_those_of_the_new_network_in_either_place() {
    let series = series(10_500, Some(10_000), 0.0, &[]);
    assert_eq!(series.median_ns(), Some(10_500.0));
    for process in &series.processes {
        assert_eq!(process.rounds_ns, [10_500.0; 6]);
        assert_eq!(process.reference_rounds_ns, [10_000.0; 6]);
    }
    assert_eq!(series.measurements.len(), 12);
}

#[test]
fn an_invalid_measurement_is_kept_but_does_not_count() {
    let paired = series(10_500, Some(10_000), 0.0, &[1, 4]);
    assert_eq!((paired.processes.len(), paired.measurements.len()), (4, 12));
    assert_eq!(paired.rejections, ["a storm", "a storm"]);
    assert!((paired.change().unwrap().estimate.value - 0.05).abs() < 1e-12);
    let alone = series(10_500, None, 0.0, &[2]);
    assert_eq!((alone.processes.len(), alone.measurements.len()), (5, 6));
    assert_eq!(alone.change(), None);
}

#[test]
fn a_simulated_boards_figures_are_kept_and_do_not_count() {
    let device = ByteDevice {
        second_faster: 0.0,
        invalid: Vec::new(),
        requests: 0,
        simulated: true,
    };
    let series = series_of(device, 10_500, Some(10_000));
    assert_eq!((series.processes.len(), series.measurements.len()), (0, 12));
    assert!(
        series.rejections[0].contains("simulated"),
        "{:?}",
        series.rejections
    );
    assert_eq!(series.change(), None);
}

#[test]
fn growth_of_the_peak_memory_is_compared_with_the_baseline_and_limited() {
    let place = tempfile::tempdir().unwrap();
    let folder = BaselineFolder::new(place.path());
    let mut device = Device {
        name: "bytes".into(),
        profile: Profile::local().unwrap(),
        source: Box::new(ByteDevice {
            second_faster: 0.0,
            invalid: Vec::new(),
            requests: 0,
            simulated: false,
        }),
    };
    let mut guard = Guard {
        folder: &folder,
        baseline: None,
        config: SeriesConfig {
            threshold: 0.2,
            ..SeriesConfig::default()
        },
        adds: false,
        largest_growth: None,
        largest_memory_growth: None,
    };
    let (old, new) = (model(10_000), model(10_500));
    let saved = guard.turn(&mut device, &old, |_, _| {}).unwrap();
    assert_eq!(saved.compared.peak_memory_bytes, Some(100_000));
    let entry = saved.entry.unwrap();
    assert_eq!(entry.peak_memory_bytes, Some(100_000));
    let baseline = Baseline::new(vec![entry]);
    guard.baseline = Some(&baseline);
    let mut check = |kept: bool, most: Option<f64>, verdict: Judged, word: &str| {
        guard.largest_memory_growth = most;
        let models = kept.then(|| old.onnx().as_ref());
        folder.write("main", &baseline, models).unwrap();
        let compared = guard.turn(&mut device, &new, |_, _| {}).unwrap().compared;
        assert_eq!(compared.peak_memory_bytes, Some(105_000));
        assert_eq!(compared.baseline_peak_memory_bytes, Some(100_000));
        let notes = compared.notes.join("; ");
        assert!(notes.contains(word), "{notes}");
        assert_eq!(compared.verdict, verdict, "{notes}");
    };
    // Without the baseline's model, its stored figure counts, and no pace tells the latency.
    check(
        false,
        Some(0.04),
        Judged::Uncompared,
        "the peak memory is 105000 bytes, +5.0 %",
    );
    check(
        true,
        Some(0.04),
        Judged::MemoryGrown,
        "the peak memory is 105000 bytes, +5.0 %",
    );
    check(true, Some(0.06), Judged::Fine, "");
    check(true, None, Judged::Fine, "");
}
