//! An invented prediction with given numbers of layers, kernels and measured networks.

use report::{
    AskedPoint, Fact, GroupSteps, LayerResidual, PredictedPoint, PredictionFit, PredictionReport,
    Staircase,
};

/// A reproducible number in 0..1 that looks random.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)) % 10_000) as f64 / 10_000.0
}

fn stair(index: usize) -> Staircase {
    let (size, channels) = [(32, 16), (16, 32), (8, 64)][index % 3];
    let stride = if index % 4 == 3 { ", stride 2x2" } else { "" };
    let (axis, block) = [("output channels", 8), ("input channels", 4)][index / 3 % 2];
    let step = |width: usize| 4.0e3 * (1 + (width - 1) / block) as f64 * (1.0 + index as f64 / 5.0);
    let widths = (2..=channels).step_by(2);
    let points = widths.map(|w| (w, step(w) * (0.98 + 0.04 * noise(w * 31 + index))));
    Staircase {
        kernel: format!("Conv 3x3 at {size}x{size}{stride}"),
        axis: axis.into(),
        points: points.collect(),
        steps: (1..=channels / block)
            .map(|i| ((i - 1) * block + 2, i * block, step(i * block)))
            .collect(),
        layers: (0..1 + index % 7)
            .map(|i| {
                format!(
                    "/layer{}/layer{}.{i}/conv1/Conv",
                    index % 3 + 1,
                    index % 3 + 1
                )
            })
            .collect(),
    }
}

fn layer(index: usize) -> LayerResidual {
    let alone = 20e3 + 60e3 * noise(index);
    LayerResidual {
        name: format!(
            "/layer{}/layer{}.{}/conv{}/Conv",
            index / 6 + 1,
            index / 6 + 1,
            index % 6 / 2,
            index % 2 + 1
        ),
        kernel: format!("Conv 3x3 at {0}x{0}", 32 >> (index / 6).min(2)),
        alone_ns: alone,
        in_network_ns: (index % 11 != 10).then(|| alone * (0.9 + 0.35 * noise(index + 500))),
        estimated: index % 9 == 8,
    }
}

fn point(index: usize, groups: usize) -> PredictedPoint {
    let measured = 0.25 + 0.7 * noise(index + 40);
    let off = |spread: f64, seed| 1.0 + spread * (noise(index + seed) - 0.5);
    PredictedPoint {
        widths: (0..groups).map(|g| 4 + (index * 7 + g * 5) % 60).collect(),
        measured,
        predicted: (index > 3).then(|| measured * off(0.06, 100)),
        kernels: measured * off(0.08, 200) * 0.93,
        macs: measured * off(0.2, 300) * (0.6 + 0.35 * measured),
    }
}

fn group(index: usize) -> GroupSteps {
    let channels = [16, 32, 64][index / 3 % 3];
    let step = channels / 8;
    GroupSteps {
        name: format!(
            "/layer{}/layer{}.{}/conv1/Conv",
            index / 3 + 1,
            index / 3 + 1,
            index % 3
        ),
        channels,
        width: channels / 2,
        widths: (1..=8).map(|i| i * step).collect(),
        edges: (1..=4).map(|i| i * step * 2).collect(),
    }
}

/// A prediction with these numbers of layers, staircases, measured networks and groups.
pub fn sized(layers: usize, stairs: usize, points: usize, groups: usize) -> PredictionReport {
    let fact = |name: &str, value: &str| Fact {
        name: name.into(),
        value: value.into(),
    };
    PredictionReport {
        model: "resnet20".into(),
        device: "kitchen (Cortex-A72), ONNX Runtime 1.30.0, 4 thread(s)".into(),
        program: "graphprune 0.1.0".into(),
        facts: vec![
            fact("kernels measured alone", "118"),
            fact("image", "3x32x32"),
        ],
        fit: Some(PredictionFit {
            measured: points as u64,
            mean_error: 0.0153,
            max_error: 0.0417,
            rank_correlation: 0.9963,
            held: Some(0.95),
            macs_error: 0.0871,
            kernels_error: 0.0709,
        }),
        points: (0..points).map(|i| point(i, groups)).collect(),
        asked: Some(AskedPoint {
            widths: (0..groups).map(|g| 8 + g % 24).collect(),
            predicted: 0.534,
            low: Some(0.512),
            high: Some(0.557),
            measured: Some((0.541, 0.536, 0.547).into()),
        }),
        layers: (0..layers).map(layer).collect(),
        stairs: (0..stairs).map(stair).collect(),
        groups: (0..groups).map(group).collect(),
        other_ns: Some(41_300.0),
        warnings: vec!["The device changed its frequency in 2 of 118 measurements.".into()],
    }
}

/// A prediction with the numbers of a ResNet-20.
pub fn resnet20() -> PredictionReport {
    sized(20, 9, 40, 12)
}
