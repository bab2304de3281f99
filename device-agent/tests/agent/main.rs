//! The agent from end to end: the real program, its workers and ONNX Runtime, behind the real
//! client.

mod conditions;
mod confinement;
mod enrolled;
mod failures;
mod fixture;
mod fleet;
mod lifetimes;
mod providers;
mod targets;
mod wire;

use fixture::{Convolution, device, quick, request};
use latency::{Evidence, LatencySource, MeasureRequest, Verdict};

#[test]
fn a_model_is_measured_with_full_evidence() {
    let mut device = device();
    let info = device.describe();
    assert_eq!(info.profile, "local");
    assert!(info.runtime_version.starts_with("1."), "{info:?}");
    let model = Convolution::default().model("conv");
    let all = device
        .measure(&MeasureRequest {
            evidence: Evidence::Full,
            ..request(model.clone(), quick())
        })
        .unwrap();
    let [m] = all.as_slice() else {
        panic!("{} measurements", all.len())
    };
    assert_eq!((m.name.as_str(), m.model_sha256), ("conv", model.sha256()));
    assert_eq!(m.verdict, Verdict::Valid);
    assert!(m.samples_ns.len() >= 8 * m.block_runs as usize && !m.warmup_ns.is_empty());
    assert!(m.ci95_ns.0 <= m.median_ns && m.median_ns <= m.ci95_ns.1);
    assert!(
        m.min_ns > 0 && m.min_ns as f64 <= m.p5_ns && m.p5_ns <= m.p50_ns && m.p50_ns <= m.p99_ns
    );
    assert_eq!((m.ratio, m.reference_sha256), (None, None));
    assert!(m.peak_memory_bytes.unwrap() > 0);
    assert!(!m.runtime.node_providers.is_empty());
    assert!(
        m.runtime
            .node_providers
            .iter()
            .all(|node| node.provider == "CPUExecutionProvider")
    );
    assert_eq!(m.runtime.version, info.runtime_version);
    assert!(m.after.taken_unix_ns > m.before.taken_unix_ns && !m.after.cores.is_empty());
}

#[test]
fn candidates_come_back_in_order_with_a_ratio_and_the_reference_last() {
    let mut device = device();
    let reference = Convolution::with_channels(64).model("reference");
    let same = latency::Model::new("same", reference.onnx().clone());
    let small = Convolution::with_channels(16).model("small");
    let request = MeasureRequest {
        models: vec![small, same],
        reference: Some(reference.clone()),
        sampling: latency::Sampling {
            min_rounds: 60,
            max_duration_ns: 3_000_000_000,
            ..quick()
        },
        ..MeasureRequest::default()
    };
    let all = device.measure(&request).unwrap();
    let names: Vec<&str> = all.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["small", "same", "reference"]);
    assert_eq!(all[2].ratio, None);
    let ratio = all[1].ratio.unwrap();
    // A network against itself: however busy the machine, the interval of the ratio comes close
    // to 1.
    assert!(
        ratio.interval.low <= 1.1 && ratio.interval.high >= 0.9 && ratio.rounds >= 60,
        "{ratio:?}"
    );
    let ratio = all[0].ratio.unwrap();
    assert!(
        ratio.interval.low > 0.0
            && ratio.interval.low <= ratio.interval.value
            && ratio.interval.value <= ratio.interval.high,
        "{ratio:?}"
    );
    assert_eq!(all[0].reference_sha256, Some(reference.sha256()));
}

#[test]
fn figures_over_processes_come_from_different_workers_in_both_orders() {
    let mut device = device();
    let reference = Convolution::with_channels(32).model("reference");
    let small = Convolution::with_channels(16).model("small");
    let request = MeasureRequest {
        models: vec![small.clone()],
        reference: Some(reference.clone()),
        evidence: Evidence::Full,
        processes: latency::Processes { fewest: 4, most: 4 },
        ..request(small, quick())
    };
    let all = device.measure(&request).unwrap();
    let [small, reference] = all.as_slice() else {
        panic!("{} measurements", all.len())
    };
    assert_eq!(
        (&small.name[..], &reference.name[..]),
        ("small", "reference")
    );
    // Of four processes, one beside other work may be left out.
    for m in [small, reference] {
        assert!((3..=4).contains(&m.processes.len()), "{:?}", m.notes);
    }
    let samples: usize = small.processes.iter().map(|p| p.samples).sum();
    assert_eq!(samples, small.samples_ns.len());
    let ratios: Vec<f64> = small.processes.iter().filter_map(|p| p.ratio).collect();
    let ratio = small.ratio.unwrap().interval;
    let (least, most) = ratios
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(low, high), r| {
            (low.min(*r), high.max(*r))
        });
    assert!(
        ratios.len() == small.processes.len() && least <= ratio.value && ratio.value <= most,
        "{ratio:?}"
    );
    assert!(ratio.low <= least.max(ratio.value) && ratio.value <= ratio.high);
    assert!(small.peak_memory_bytes.is_some() && !small.runtime.node_providers.is_empty());
    // Linux counts the time that a thread waits for a core.
    for process in &small.processes {
        let contention = process.contention.unwrap();
        assert!(
            contention.elapsed_ns > 0 && contention.share() <= 1.0,
            "{contention:?}"
        );
    }
}

#[test]
fn a_dynamic_batch_has_the_requested_size() {
    let mut device = device();
    let model = Convolution::default().model("conv");
    let batch = |batch| latency::Sampling { batch, ..quick() };
    let one = device.measure(&request(model.clone(), batch(1))).unwrap();
    let many = device.measure(&request(model, batch(64))).unwrap();
    assert!(
        many[0].min_ns > one[0].min_ns,
        "64 images are more work than one"
    );
}

#[test]
fn a_run_returns_the_output_and_refuses_another_shape() {
    let mut device = device();
    let conv = Convolution {
        channels: 2,
        weight: 0.5,
        ..Convolution::default()
    };
    let model = conv.model("conv");
    // The first image is all ones: 27 products of 0.5 and 1. The second is all minus ones, and
    // the ReLU makes it zero.
    let image = 3 * 16 * 16;
    let input = [vec![1.0; image], vec![-1.0; image]].concat();
    let output = device
        .run(
            &model,
            &input,
            &[2, 3, 16, 16],
            &latency::RuntimeOptions::default(),
        )
        .unwrap();
    let expected = [vec![13.5; 2 * 14 * 14], vec![0.0; 2 * 14 * 14]].concat();
    assert_eq!(output, expected);

    let agent = device.agent_pid();
    let error = device
        .run(
            &model,
            &input,
            &[2, 3, 32, 8],
            &latency::RuntimeOptions::default(),
        )
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, latency::LatencyError::Failed(_))
            && text.contains("running `conv`")
            && text.contains("[2, 3, 32, 8]"),
        "{text}"
    );
    let error = device
        .run(
            &model,
            &input,
            &[1, 3, 16, 16],
            &latency::RuntimeOptions::default(),
        )
        .unwrap_err();
    assert!(
        error.to_string().contains("[1, 3, 16, 16] for 1536 values"),
        "{error}"
    );
    assert_eq!(device.agent_pid(), agent, "it is the same agent");
}

#[test]
fn a_model_is_sent_once() {
    let mut device = device();
    let client = device.client().unwrap();
    let model = Convolution::default().model("conv");
    assert_eq!(client.upload(&model).unwrap(), model.onnx().len() as u64);
    assert_eq!(client.upload(&model).unwrap(), 0);
    let renamed = latency::Model::new("another name", model.onnx().clone());
    assert_eq!(client.upload(&renamed).unwrap(), 0);
}
