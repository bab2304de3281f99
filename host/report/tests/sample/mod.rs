//! An invented run with realistic proportions.
#![allow(dead_code, reason = "every test binary uses a part")]

use agent_protocol::stats::Interval;
use report::{
    Budget, Candidate, DeviceLine, Evidence, Fact, Group, Header, LatencyFigure, MeasurementLine,
    Metric, Provider, ReportData, Role, Row, SCHEMA, SkippedFiles, Verdict,
};

/// A reproducible sequence of numbers in 0..1.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn bell(&mut self) -> f64 {
        (0..6).map(|_| self.next()).sum::<f64>() / 3.0 - 1.0
    }
}

fn latency(noise: &mut Noise, median_ns: f64, ratio: Option<f64>, samples: usize) -> LatencyFigure {
    let mut samples_ns: Vec<u64> = (0..samples)
        .map(|_| {
            let tail = if noise.next() < 0.04 {
                1.0 + noise.next() * 1.6
            } else {
                1.0
            };
            (median_ns * (1.0 + 0.03 * noise.bell() + 0.05 * noise.next().powi(6)) * tail) as u64
        })
        .collect();
    samples_ns[0] += 1;
    LatencyFigure {
        device: String::new(),
        median_ns,
        low_ns: median_ns * 0.994,
        high_ns: median_ns * 1.007,
        ratio,
        ratio_low: ratio.map(|r| r - 0.006),
        ratio_high: ratio.map(|r| r + 0.008),
        samples_ns,
        simulated: false,
    }
}

pub fn run() -> ReportData {
    let noise = &mut Noise::new(7);
    let names = [
        "stem/Conv",
        "layer1.0/conv1",
        "layer1.1/conv1",
        "layer1.2/conv1",
        "layer2.0/conv1",
        "layer2.0/downsample+layer2.1/conv2+layer2.2/conv2",
        "layer2.1/conv1",
        "layer2.2/conv1",
        "layer3.0/conv1",
        "layer3.0/downsample+layer3.1/conv2+layer3.2/conv2",
        "layer3.1/conv1",
        "layer3.2/conv1",
    ];
    let channels = [16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64];
    let kept = [16, 16, 12, 16, 16, 32, 16, 28, 48, 48, 32, 16];
    let groups = names
        .iter()
        .zip(channels)
        .zip(kept)
        .map(|((name, channels), kept)| Group {
            name: (*name).into(),
            channels,
            kept,
        })
        .collect();
    let full = 40_813_184u64;
    let candidates = (0..160)
        .map(|episode| {
            let progress = episode as f64 / 160.0;
            let strategy = if episode % 4 == 3 {
                "evolution"
            } else {
                "ddpg"
            };
            let share = 0.35 + 0.5 * noise.next() * (1.2 - 0.5 * progress);
            let ratio = 0.22 + 0.78 * share + 0.05 * noise.bell();
            let accuracy =
                0.915 - 0.16 * (1.0 - share).powi(2) - 0.05 * (1.0 - progress) * noise.next()
                    + 0.004 * noise.bell();
            let feasible = ratio + 0.012 <= 0.7;
            Candidate {
                episode: episode + 1,
                strategy: strategy.into(),
                accuracy,
                latency_ratio: Some(Interval {
                    value: ratio,
                    low: ratio - 0.01 - 0.01 * noise.next(),
                    high: ratio + 0.012 + 0.01 * noise.next(),
                }),
                macs: (full as f64 * share) as u64,
                predicted_ratio: (episode > 20).then(|| ratio + 0.02 * noise.bell()),
                reward: if feasible {
                    accuracy
                } else {
                    accuracy - 2.0 * (ratio - 0.688)
                },
                feasible,
                screened: false,
                halving_accuracy: (feasible && episode % 20 == 0).then_some(accuracy + 0.03),
                device: None,
                device_s: 0.3,
                widths: channels
                    .iter()
                    .map(|&c| ((c as f64 * share / 4.0).round() as usize * 4).max(4))
                    .collect(),
            }
        })
        .collect();
    let rows = vec![
        Row {
            label: "original".into(),
            role: Role::Original,
            test_accuracy: Some(0.9160),
            test_images: Some(2000),
            test_interval: Some((0.90, 0.92)),
            search_accuracy: Some(0.921),
            latency: Some(latency(noise, 1.492e6, None, 2600)),
            checks: Vec::new(),
            macs: Some(full),
            parameters: Some(272_474),
            bytes: Some(1_096_322),
            figures: Vec::new(),
            does_not_fit: false,
        },
        Row {
            label: "pruned".into(),
            role: Role::Pruned,
            test_accuracy: Some(0.9035),
            test_images: Some(2000),
            test_interval: Some((0.90, 0.92)),
            search_accuracy: Some(0.9085),
            latency: Some(latency(noise, 1.013e6, Some(0.679), 2600)),
            checks: Vec::new(),
            macs: Some(23_118_592),
            parameters: Some(158_090),
            bytes: Some(640_114),
            figures: Vec::new(),
            does_not_fit: false,
        },
        Row {
            label: "uniform 0.68, fine-tuned alike".into(),
            role: Role::Baseline,
            test_accuracy: Some(0.8940),
            test_images: Some(2000),
            test_interval: Some((0.90, 0.92)),
            search_accuracy: Some(0.898),
            latency: Some(latency(noise, 1.039e6, Some(0.696), 1400)),
            checks: Vec::new(),
            macs: Some(19_405_824),
            parameters: Some(128_744),
            bytes: Some(521_002),
            figures: Vec::new(),
            does_not_fit: false,
        },
        Row {
            label: "budget in MACs".into(),
            role: Role::Baseline,
            test_accuracy: Some(0.9010),
            test_images: Some(2000),
            test_interval: Some((0.90, 0.92)),
            search_accuracy: Some(0.9045),
            latency: Some(latency(noise, 1.241e6, Some(0.832), 1400)),
            checks: Vec::new(),
            macs: Some(28_500_000),
            parameters: Some(170_022),
            bytes: None,
            figures: Vec::new(),
            does_not_fit: false,
        },
    ];
    let measurement = |name: &str, median: f64, invalid: Option<&str>| MeasurementLine {
        name: name.into(),
        taken_unix_s: Some(1_795_463_060),
        samples: 2600,
        warmup: 50,
        median_ns: Some(median),
        interval_ns: Some((median * 0.994, median * 1.007)),
        peak_memory_bytes: Some(48_230_400),
        before: "load 0.4, 2.45 GHz".into(),
        after: "load 1.1, 2.45 GHz".into(),
        invalid: invalid.map(Into::into),
    };
    let fact = |name: &str, value: &str| Fact {
        name: name.into(),
        value: value.into(),
    };
    ReportData {
        schema: SCHEMA,
        header: Header {
            model: "cifar10_resnet20.onnx".into(),
            device: "workstation (local)".into(),
            data: "cifar10 (9000 train, 1000 search, 2000 test)".into(),
            input: "3x32x32, rgb, covered and cut to the centre, bilinear, (byte / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]".into(),
            strategy: "ddpg".into(),
            task: "classification".into(),
            score: Metric::default(),
            estimate: Metric::default(),
            started_unix_s: Some(1_795_463_060),
            duration_s: Some(2_871.0),
            seed: Some(1),
            program: "graphprune 0.1.0".into(),
            command: "graphprune prune cifar10_resnet20.onnx --data cifar10:data --device local --latency 0.7x --out run".into(),
        },
        verdict: Verdict::Met("latency ratio 0.679, upper end of its 95 % interval 0.687, budget 0.7".into()),
        budget: Budget { latency_ratio: Some(0.7), ..Budget::default() },
        rows,
        candidates,
        groups,
        evidence: Evidence {
            facts: vec![
                fact("Processor", "AMD EPYC 9R14, 2 of 192 cores"),
                fact("Operating system", "Linux 6.1, Debian 12"),
                fact("Governor", "not exposed"),
                fact("ONNX Runtime", "1.30.0"),
                fact("Threads", "1, pinned to core 1"),
                fact("Sampling", "until the interval is within 1 %, at most 20 s"),
            ],
            providers: vec![Provider { name: "CPUExecutionProvider".into(), nodes: 31 }],
            reference: Some("original".into()),
            valid: 166,
            invalid: 2,
            measurements: vec![
                measurement("original", 1.492e6, None),
                measurement("pruned", 1.013e6, None),
                measurement("candidate 41", 1.3e6, Some("the machine was loaded: 3.9 of 2 cores busy before the measurement")),
                measurement("uniform 0.68, fine-tuned alike", 1.039e6, None),
            ],
            devices: Vec::new(),
            notes: vec!["The frequency of this machine cannot be read; drift is cancelled by interleaving with the reference.".into()],
        },
        config: "[search]\nstrategy = \"ddpg\"\nepisodes = 160\nseed = 1\n\n[budget]\nlatency = \"0.7x\"\n\n[train]\nepochs = 12\nbatch = 128\n".into(),
        skipped: vec![SkippedFiles {
            reason: "WebP images (only JPEG and PNG are read)".into(),
            count: 4,
            examples: vec!["photos/train/cat/7.webp".into()],
            image: true,
        }],
        warnings: vec!["2 of 168 measurements were invalid and were left out.".into()],
    }
}

/// A run that is small enough to be read.
pub fn small() -> ReportData {
    let mut data = run();
    data.rows.truncate(2);
    for row in &mut data.rows {
        let samples = &mut row.latency.as_mut().unwrap().samples_ns;
        samples.truncate(6);
    }
    data.candidates.truncate(4);
    data.candidates[1].screened = true;
    data.groups.truncate(3);
    data.evidence.measurements.truncate(3);
    data
}

/// The same run on two devices. The second device checked the networks of the table.
pub fn run_by_two() -> ReportData {
    let mut data = run();
    for row in &mut data.rows {
        let latency = row.latency.as_mut().unwrap();
        latency.device = "shelf".into();
        row.checks = vec![LatencyFigure {
            device: "window".into(),
            median_ns: latency.median_ns * 1.1,
            ratio: latency.ratio.map(|ratio| ratio * 1.02),
            samples_ns: Vec::new(),
            ..latency.clone()
        }];
    }
    for (i, candidate) in data.candidates.iter_mut().enumerate() {
        candidate.device = Some(if i % 2 == 0 { "shelf" } else { "window" }.into());
    }
    let device = |name: &str, bias: f64| DeviceLine {
        name: name.into(),
        about: "Cortex-A76, 4 cores".into(),
        measured: 97,
        reference_ns: Some((1.49e6, 1.48e6, 1.51e6).into()),
        itself: Some((1.001, 0.998, 1.004).into()),
        bias: Some((bias, bias - 0.006, bias + 0.006).into()),
        shared: 23,
        differs: bias > 1.01,
        ..DeviceLine::default()
    };
    data.evidence.devices = vec![device("shelf", 0.981), device("window", 1.0194)];
    data.evidence.devices[0].set_aside = Some("the cable was pulled".into());
    data
}
