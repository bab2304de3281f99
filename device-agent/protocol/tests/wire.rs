//! What becomes of messages: checked values come back unchanged, wrong ones are refused by name, nothing panics.

use agent_protocol::{
    Activity, AgentState, Conditions, DeviceState, Evidence, Failure, Limits, MeasureEvent,
    MeasureJob, Measurement, ModelRef, MonitorEvent, NodeProvider, Optimisation, Progress,
    Provider, Ratio, RunJob, RunOutput, RuntimeInfo, RuntimeOptions, Sampling, Sentinel, Sha256,
    Stage, Token, Upload, Verdict, check_version, decode, wire,
};
use proptest::prelude::*;
use prost::Message;

fn measurement() -> Measurement {
    Measurement {
        name: "candidate 1".into(),
        model_sha256: Sha256::of(b"candidate"),
        reference_sha256: Some(Sha256::of(b"reference")),
        median_ns: 2.0,
        ci95_ns: (1.0, 3.0),
        min_ns: 1,
        p5_ns: 1.0,
        p25_ns: 1.5,
        p50_ns: 2.0,
        p75_ns: 2.5,
        p95_ns: 3.0,
        p99_ns: 3.0,
        samples_ns: vec![1, 2, 3],
        block_runs: 1,
        warmup_ns: vec![9],
        preempted_ns: vec![8],
        ratio: Some(Ratio {
            interval: (0.7, 0.6, 0.8).into(),
            low_end: 0.7,
            rounds: 6,
        }),
        peak_memory_bytes: Some(5),
        before: DeviceState::default(),
        after: DeviceState {
            load1: Some(0.5),
            ..DeviceState::default()
        },
        runtime: RuntimeInfo {
            version: "1".into(),
            provider: "CPUExecutionProvider".into(),
            threads: 1,
            spinning: false,
            cores: vec![0],
            nice: -5,
            node_providers: vec![NodeProvider {
                node: "conv".into(),
                op_type: "Conv".into(),
                provider: "CPUExecutionProvider".into(),
                time_ns: Some(12),
            }],
            options: options(),
            confinement: vec!["no-new-privileges".into()],
        },
        verdict: Verdict::Invalid {
            reason: "too hot".into(),
        },
        notes: vec!["warm".into()],
        taken_unix_ns: 7,
        load_ns: 8,
        sentinel: Some(Sentinel {
            before_ns: 10,
            after_ns: 11,
        }),
    }
}

fn options() -> RuntimeOptions {
    RuntimeOptions {
        providers: vec![Provider {
            name: "xnnpack".into(),
            options: [("intra_op_num_threads".to_owned(), "2".to_owned())].into(),
        }],
        strict: true,
        optimisation: Optimisation::Extended,
    }
}

fn job() -> MeasureJob {
    let model = |name: &str| ModelRef {
        name: name.into(),
        sha256: Sha256::of(name.as_bytes()),
        inputs: vec![agent_protocol::InputShape {
            name: "x".into(),
            dims: vec![1, 3, 8, 8],
        }],
    };
    MeasureJob {
        models: vec![model("a"), model("b")],
        reference: Some(model("r")),
        sampling: Sampling::default(),
        limits: Limits::default(),
        evidence: Evidence::Full,
        runtime: options(),
        conditions: Conditions {
            max_millicelsius: Some(70_000),
            cool_down_ns: 5,
            governor: Some("performance".into()),
        },
    }
}

#[test]
fn a_measurement_and_a_job_come_back_as_they_went() {
    let bytes = wire::Measurement::from(measurement()).encode_to_vec();
    let back: Measurement = decode::<wire::Measurement>(&bytes, "Measurement")
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(back, measurement());
    let bytes = wire::MeasureRequest::from(job()).encode_to_vec();
    let back: MeasureJob = decode::<wire::MeasureRequest>(&bytes, "MeasureRequest")
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(back, job());
}

#[test]
fn what_a_monitor_sees_comes_back_as_it_went_and_is_checked() {
    let event = MonitorEvent {
        device: DeviceState::default(),
        agent: AgentState {
            activity: Some(Activity {
                client: "192.0.2.1:4000".into(),
                models: vec!["a".into(), "reference".into()],
                progress: Progress {
                    rounds: 3,
                    ..Progress::at(Stage::Sampling)
                },
                elapsed_ns: 5,
            }),
            queued: 2,
            uptime_ns: 6,
            models: 7,
            model_bytes: 8,
            model_limit_bytes: 9,
            connections: 10,
        },
    };
    let message = wire::MonitorEvent::from(event.clone());
    let bytes = message.encode_to_vec();
    let back: MonitorEvent = decode::<wire::MonitorEvent>(&bytes, "MonitorEvent")
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(back, event);
    let check = |spoil: &dyn Fn(&mut wire::MonitorEvent), needle: &str| {
        let mut message = message.clone();
        spoil(&mut message);
        let error = MonitorEvent::try_from(message).unwrap_err().to_string();
        assert!(error.contains(needle), "{needle}: {error}");
    };
    let activity = |change: fn(&mut wire::Activity)| {
        move |m: &mut wire::MonitorEvent| {
            change(m.agent.as_mut().unwrap().activity.as_mut().unwrap());
        }
    };
    check(&|m| m.device = None, "device");
    check(&|m| m.agent = None, "agent");
    check(&activity(|a| a.progress = None), "progress");
    check(&activity(|a| a.client = "\u{1b}[2J".into()), "control");
    check(
        &activity(|a| a.models = vec!["m".into(); 66]),
        "a list of 66",
    );
    for interval_ns in [0, 199_999_999, u64::MAX] {
        let request = wire::MonitorRequest { interval_ns };
        assert!(std::time::Duration::try_from(&request).is_err());
    }
}

#[test]
fn a_wrong_field_is_refused_by_its_name() {
    let check = |spoil: &dyn Fn(&mut wire::MeasureRequest), needle: &str| {
        let mut request = wire::MeasureRequest::from(job());
        spoil(&mut request);
        let error = MeasureJob::try_from(request).unwrap_err().to_string();
        assert!(error.contains(needle), "{needle}: {error}");
    };
    let sampling = |change: fn(&mut wire::Sampling)| {
        move |request: &mut wire::MeasureRequest| change(request.sampling.as_mut().unwrap())
    };
    check(&|r| (r.models, r.reference) = (vec![], None), "models");
    check(
        &|r| r.models = vec![r.models[0].clone(); 65],
        "a list of 65",
    );
    check(&|r| r.models[0].sha256.truncate(31), "31 bytes");
    check(&|r| r.models[0].name = "x\u{7}".into(), "control");
    check(&|r| r.models[0].name = "x".repeat(1000), "1000 bytes");
    check(&|r| r.models[0].inputs[0].dims[2] = 0, "dims is 0");
    check(&|r| r.models[0].inputs[0].dims[2] = u64::MAX, "dims is");
    check(
        &|r| r.models[0].inputs[0].dims = vec![1; 17],
        "a list of 17",
    );
    check(&|r| r.models[0].inputs[0].name = "x\n".into(), "control");
    check(
        &|r| r.models[0].inputs = vec![r.models[0].inputs[0].clone(); 65],
        "a list of 65",
    );
    check(&|r| r.evidence = 9, "evidence is 9");
    check(&|r| r.sampling = None, "sampling");
    check(&|r| r.limits = None, "limits");
    check(
        &|r| r.runtime.as_mut().unwrap().providers[0].name = "abacus".into(),
        "name is abacus",
    );
    check(
        &|r| r.conditions.as_mut().unwrap().max_millicelsius = Some(-1),
        "max_millicelsius is -1",
    );
    check(&|r| r.limits.as_mut().unwrap().time_ns = 0, "time_ns is 0");
    check(&sampling(|s| s.threads = 0), "threads is 0");
    check(&sampling(|s| s.min_rounds = 5), "min_rounds is 5");
    check(&sampling(|s| s.max_rounds = 7), "max_rounds is 7");
    check(
        &sampling(|s| s.ci_target_rel = f64::NAN),
        "ci_target_rel is NaN",
    );
    check(&sampling(|s| s.ci_accept_rel = 0.0), "ci_accept_rel is 0");
    check(&sampling(|s| s.cores = vec![4096]), "cores is 4096");
    check(
        &sampling(|s| s.max_duration_ns = u64::MAX),
        "max_duration_ns",
    );
}

#[test]
fn a_run_whose_input_has_not_its_shape_is_refused() {
    let check = |spoil: fn(&mut wire::RunRequest), needle: &str| {
        let mut request = wire::RunRequest::from(RunJob {
            model: job().models[0].clone(),
            input: vec![0.0; 12],
            shape: vec![1, 3, 2, 2],
            limits: Limits::default(),
            runtime: options(),
        });
        assert!(RunJob::try_from(request.clone()).is_ok());
        spoil(&mut request);
        let error = RunJob::try_from(request).unwrap_err().to_string();
        assert!(error.contains(needle), "{needle}: {error}");
    };
    check(|r| r.shape[0] = 2, "shape is [2, 3, 2, 2] for 12 values");
    check(|r| r.shape = vec![u64::MAX, 2], "shape");
    check(|r| r.shape = vec![1; 17], "a list of 17");
    check(|r| r.input = vec![0.0; (1 << 24) + 1], "too long");
    check(|r| (r.input, r.shape) = (vec![], vec![0]), "input");
    check(|r| r.sha256.clear(), "0 bytes");
    check(|r| r.limits = None, "limits");
}

#[test]
fn a_measurement_that_contradicts_itself_is_refused() {
    let check = |spoil: fn(&mut wire::Measurement), needle: &str| {
        let mut message = wire::Measurement::from(measurement());
        spoil(&mut message);
        let error = Measurement::try_from(message).unwrap_err().to_string();
        assert!(error.contains(needle), "{needle}: {error}");
    };
    check(|m| m.median_ns = 4.0, "median_ns is 4");
    check(|m| m.p99_ns = f64::INFINITY, "percentiles");
    check(|m| m.p25_ns = 2.9, "percentiles");
    check(|m| m.samples_ns.clear(), "samples_ns");
    check(|m| m.block_runs = 0, "block_runs is 0");
    check(|m| m.before = None, "before");
    check(|m| m.ratio.as_mut().unwrap().low = 0.0, "low is 0");
    check(|m| m.ratio.as_mut().unwrap().high = 0.65, "median is 0.7");
    check(|m| m.reference_sha256 = vec![1], "1 bytes");
}

#[test]
fn another_protocol_is_refused_with_both_versions() {
    assert!(check_version(1, 1).is_ok());
    let check = |host, agent, needles: [&str; 3]| {
        let error = check_version(host, agent).unwrap_err().to_string();
        for needle in needles {
            assert!(error.contains(needle), "{needle}: {error}");
        }
    };
    check(
        1,
        3,
        ["protocol 1", "the agent 3", "update graphprune on the host"],
    );
    check(
        3,
        1,
        [
            "protocol 3",
            "the agent on the device is older",
            "graphprune device deploy",
        ],
    );
}

#[test]
fn a_token_matches_only_itself_and_is_not_printed() {
    let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
    assert!(one.matches(one.secret().as_bytes()) && !one.matches(other.secret().as_bytes()));
    assert!(!one.matches(&one.secret().as_bytes()[..63]) && !one.matches(b""));
    assert!(!format!("{one:?}").contains(one.secret()));
    assert!(
        Token::parse(one.secret())
            .unwrap()
            .matches(one.secret().as_bytes())
    );
    for bad in [
        "",
        "short",
        &"x".repeat(257),
        &format!("{} x", "y".repeat(32)),
    ] {
        assert!(Token::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode::<wire::MeasureRequest>(&bytes, "m").map(MeasureJob::try_from);
        let _ = decode::<wire::MeasureEvent>(&bytes, "m").map(MeasureEvent::try_from);
        let _ = decode::<wire::DeviceState>(&bytes, "m").map(DeviceState::try_from);
        let _ = decode::<wire::UploadHeader>(&bytes, "m").map(Upload::try_from);
        let _ = decode::<wire::RunRequest>(&bytes, "m").map(RunJob::try_from);
        let _ = decode::<wire::RunOutput>(&bytes, "m").map(RunOutput::try_from);
        let _ = decode::<wire::MonitorEvent>(&bytes, "m").map(MonitorEvent::try_from);
        let _ = decode::<wire::Failure>(&bytes, "m").map(Failure::try_from);
    }

    #[test]
    fn a_damaged_measurement_is_refused_or_still_consistent(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = wire::Measurement::from(measurement()).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(Ok(m)) = decode::<wire::Measurement>(&bytes, "m").map(Measurement::try_from) {
            prop_assert!(m.ci95_ns.0 <= m.median_ns && m.median_ns <= m.ci95_ns.1);
            prop_assert!(m.p5_ns <= m.p99_ns && m.p99_ns.is_finite());
        }
    }
}
