//! Measures ONNX files on this machine against the first of them:
//! `cargo run --package latency --example measure -- REFERENCE.onnx [CANDIDATE.onnx ...]`

use std::time::Instant;

use latency::{LatencySource, LocalConfig, LocalDevice, MeasureRequest, Model, Profile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut models = std::env::args()
        .skip(1)
        .map(|path| Ok(Model::new(path.clone(), std::fs::read(&path)?)))
        .collect::<Result<Vec<_>, std::io::Error>>()?
        .into_iter();
    let profile = Profile::local()?;
    let mut device = LocalDevice::start(&LocalConfig {
        retries: 0,
        ..LocalConfig::default()
    })?;
    let request = MeasureRequest {
        reference: models.next(),
        models: models.collect(),
        sampling: profile.sampling,
        limits: profile.limits,
        ..MeasureRequest::default()
    };
    println!("{}", device.describe().id());
    let begun = Instant::now();
    let all = device.measure(&request)?;
    println!("{} ms in all", begun.elapsed().as_millis());
    for m in all {
        println!(
            "{}: {:.3} ms [{:.3}, {:.3}], p5 {:.3}, {} samples in blocks of {}, loaded in {:.0} ms, {} preempted, nice {}, {:?} {:?} {:?}",
            m.name,
            m.median_ns / 1e6,
            m.ci95_ns.0 / 1e6,
            m.ci95_ns.1 / 1e6,
            m.p5_ns / 1e6,
            m.samples_ns.len(),
            m.block_runs,
            m.load_ns as f64 / 1e6,
            m.preempted_ns.len(),
            m.runtime.nice,
            m.ratio,
            m.verdict,
            m.notes,
        );
    }
    Ok(())
}
