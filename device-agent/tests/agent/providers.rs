//! Execution providers and the runtime's other options. The library of the tests offers the CPU
//! provider alone.

use latency::{
    Evidence, FailureKind, LatencyError, LatencySource, MeasureRequest, Measurement, Optimisation,
    Provider, RuntimeOptions,
};

use crate::fixture::{Convolution, device, quick, request};

const CPU: &str = "CPUExecutionProvider";

fn options(names: &[&str], strict: bool) -> RuntimeOptions {
    let providers = names.iter().map(|&name| Provider {
        name: name.into(),
        options: Default::default(),
    });
    RuntimeOptions {
        providers: providers.collect(),
        strict,
        ..RuntimeOptions::default()
    }
}

fn with(runtime: RuntimeOptions, evidence: Evidence) -> MeasureRequest {
    MeasureRequest {
        runtime,
        evidence,
        ..request(Convolution::default().model("conv"), quick())
    }
}

/// Returns the measurement under these options, which is valid.
fn measured(runtime: &RuntimeOptions, evidence: Evidence) -> Measurement {
    let all = device().measure(&with(runtime.clone(), evidence)).unwrap();
    assert!(all[0].is_valid(), "{:?}", all[0].verdict);
    assert_eq!(&all[0].runtime.options, runtime);
    all.into_iter().next().unwrap()
}

/// Returns the notes on providers.
fn provider_notes(measurement: &Measurement) -> String {
    let about = measurement.notes.iter().filter(|n| n.contains("provider"));
    about.cloned().collect::<Vec<_>>().join("; ")
}

#[test]
fn the_device_lists_the_providers_of_its_library() {
    let info = device().describe();
    assert!(info.providers.iter().any(|name| name == CPU), "{info:?}");
}

#[test]
fn the_cpu_alone_is_the_same_requested_or_not() {
    for names in [&[][..], &["cpu"], &["cpu", "xnnpack"]] {
        for strict in [false, true] {
            let measurement = measured(&options(names, strict), Evidence::Quick);
            assert_eq!(measurement.runtime.provider, CPU);
            assert_eq!(provider_notes(&measurement), "", "{names:?}");
        }
    }
}

#[test]
fn a_missing_provider_is_noted_and_the_next_used() {
    let measurement = measured(&options(&["xnnpack", "cpu"], false), Evidence::Quick);
    assert_eq!(measurement.runtime.provider, CPU);
    let notes = provider_notes(&measurement);
    assert!(
        notes.contains("`xnnpack`") && notes.contains(CPU),
        "{notes}"
    );
    assert!(!notes.contains("not requested"), "{notes}");
    let nodes = &measurement.runtime.node_providers;
    assert!(!nodes.is_empty() && nodes.iter().all(|node| node.provider == CPU));

    let measurement = measured(&options(&["xnnpack"], false), Evidence::Quick);
    let notes = provider_notes(&measurement);
    assert!(
        notes.contains("`conv`: ") && notes.contains("(Conv)") && notes.contains("not requested"),
        "{notes}"
    );
}

#[test]
fn a_missing_provider_is_refused_by_name_when_strict() {
    let mut device = device();
    let agent = device.agent_pid();
    let check = |outcome: Result<(), LatencyError>, needles: &[&str]| match outcome {
        Err(LatencyError::Failed(failure)) => {
            assert_eq!(failure.kind, FailureKind::Provider, "{failure}");
            for needle in needles {
                assert!(failure.to_string().contains(needle), "{needle}: {failure}");
            }
        }
        other => panic!("{other:?}"),
    };
    for (name, full) in [
        ("xnnpack", "XnnpackExecutionProvider"),
        ("nnapi", "NnapiExecutionProvider"),
        ("cuda", "CUDAExecutionProvider"),
        ("qnn", "QNNExecutionProvider"),
    ] {
        for names in [&[name][..], &[name, "cpu"]] {
            let strict = with(options(names, true), Evidence::Full);
            let outcome = device.measure(&strict).map(drop);
            check(outcome, &["`conv`", name, full, CPU]);
        }
    }
    let model = Convolution::default().model("conv");
    let input = vec![0.5; 3 * 16 * 16];
    let mut run = |runtime| {
        device
            .run(&model, &input, &[1, 3, 16, 16], &runtime)
            .map(drop)
    };
    check(run(options(&["xnnpack"], true)), &["`conv`", "xnnpack"]);
    run(options(&["xnnpack"], false)).unwrap();
    run(options(&["cpu"], true)).unwrap();
    assert_eq!(device.agent_pid(), agent, "it is the same agent");
}

#[test]
fn an_unknown_option_of_a_provider_is_refused_by_name() {
    let mut device = device();
    let mut options = options(&["cpu"], false);
    options.providers[0].options = [("use_arena".to_owned(), "0".to_owned())].into();
    let all = device
        .measure(&with(options.clone(), Evidence::Quick))
        .unwrap();
    assert!(all[0].is_valid());
    options.providers[0].options = [("turbo".to_owned(), "1".to_owned())].into();
    let error = device
        .measure(&with(options.clone(), Evidence::Quick))
        .unwrap_err();
    assert!(error.to_string().contains("turbo = 1"), "{error}");
    options.providers[0].options = [("file".to_owned(), "../../etc/passwd".to_owned())].into();
    let error = device.measure(&with(options, Evidence::Quick)).unwrap_err();
    assert!(
        matches!(error, LatencyError::Protocol { .. }) && error.to_string().contains("separators"),
        "{error}"
    );
}

#[test]
fn the_level_of_optimisation_takes_effect() {
    let nodes = |optimisation| {
        let options = RuntimeOptions {
            optimisation,
            ..RuntimeOptions::default()
        };
        let nodes = measured(&options, Evidence::Full).runtime.node_providers;
        nodes
            .into_iter()
            .map(|node| node.op_type)
            .collect::<Vec<_>>()
    };
    assert_eq!(nodes(Optimisation::None), ["Conv", "Relu"]);
    assert_eq!(nodes(Optimisation::Basic), ["Conv", "Relu"]);
    assert_eq!(nodes(Optimisation::Extended), ["FusedConv"]);
    // The layout may change as well, which adds nodes.
    assert!(!nodes(Optimisation::All).iter().any(|op| op == "Relu"));
}

#[test]
fn the_full_evidence_has_each_nodes_time() {
    let all = measured(&RuntimeOptions::default(), Evidence::Full);
    let nodes = &all.runtime.node_providers;
    let sum: u64 = nodes.iter().map(|node| node.time_ns.unwrap()).sum();
    assert!(sum > 0, "{nodes:?}");
}
