//! A device that returns fixed measurements and records its requests.

use std::collections::VecDeque;

use latency::{
    DeviceInfo, DeviceState, Evidence, LatencyError, LatencySource, MeasureRequest, Measurement,
    Model, Ratio, RuntimeInfo, RuntimeOptions, Verdict,
};

/// A measurement with a value in every part.
pub fn measurement(model: &Model, reference: Option<&Model>, full: bool) -> Measurement {
    Measurement {
        name: model.name().to_owned(),
        model_sha256: model.sha256(),
        reference_sha256: reference.map(Model::sha256),
        median_ns: 2.0,
        ci95_ns: (1.0, 3.0),
        min_ns: 1,
        p5_ns: 1.0,
        p25_ns: 1.0,
        p50_ns: 2.0,
        p75_ns: 2.0,
        p95_ns: 3.0,
        p99_ns: 3.0,
        samples_ns: vec![1, 2, 3, 2, 2, 2],
        block_runs: 1,
        warmup_ns: vec![7],
        preempted_ns: vec![8],
        ratio: reference.map(|_| Ratio {
            interval: (0.5, 0.4, 0.6).into(),
            low_end: 0.5,
            rounds: 6,
        }),
        peak_memory_bytes: full.then_some(11),
        before: DeviceState::default(),
        after: DeviceState::default(),
        runtime: RuntimeInfo {
            version: "1.2.3".into(),
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

/// The device of all measurements here.
pub fn device() -> DeviceInfo {
    DeviceInfo {
        profile: "test".into(),
        runtime_version: "1.2.3".into(),
        ..DeviceInfo::default()
    }
}

/// A source that records the requested models.
#[derive(Default)]
pub struct Counting {
    /// The names in each request.
    pub requests: Vec<Vec<String>>,
    /// Whether all results are invalid.
    pub invalid: bool,
    /// Times of the reference in the coming requests, ns; 2 afterwards.
    pub reference_ns: VecDeque<f64>,
    /// Cores that other programs keep busy.
    pub others_cores: Option<f64>,
}

impl LatencySource for Counting {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        self.requests.push(
            request
                .models
                .iter()
                .map(|model| model.name().to_owned())
                .collect(),
        );
        let full = request.evidence == Evidence::Full;
        let candidates = request
            .models
            .iter()
            .map(|model| measurement(model, request.reference.as_ref(), full));
        let reference_ns = self.reference_ns.pop_front().unwrap_or(2.0);
        let reference = request.reference.iter().map(|model| Measurement {
            median_ns: reference_ns,
            p5_ns: reference_ns,
            p25_ns: reference_ns,
            p50_ns: reference_ns,
            p75_ns: reference_ns,
            p95_ns: reference_ns,
            p99_ns: reference_ns,
            others_cores: self.others_cores,
            ..measurement(model, None, full)
        });
        let mut all: Vec<Measurement> = candidates.chain(reference).collect();
        if self.invalid {
            for m in &mut all {
                m.verdict = Verdict::Invalid {
                    reason: "a storm".into(),
                };
            }
        }
        Ok(all)
    }

    fn describe(&self) -> DeviceInfo {
        device()
    }
}

/// A model whose bytes are its name.
pub fn model(name: &str) -> Model {
    Model::new(name, name.as_bytes())
}

/// A request for these models beside a reference.
pub fn request(names: &[&str]) -> MeasureRequest {
    MeasureRequest {
        models: names.iter().map(|name| model(name)).collect(),
        reference: Some(model("reference")),
        ..MeasureRequest::default()
    }
}
