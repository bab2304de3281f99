//! What another runtime computes is scored as what libtorch computes.

use std::sync::Arc;

use channels::{PrunePlan, analyse, importance_order, prune};
use datasets::Splits;
use onnx_graph::Graph;
use onnx_graph::ops::Softmax;
use torch_exec::{Device, NormMode, Params, Program, Tensor};
use train::{
    Classification, Follow, GivenSamples, GivenScorer, Runtime, Subject, Task, TrainError, score,
};

fn splits() -> Splits {
    let spec = "shapes:train=60,test=20".parse().unwrap();
    let input = datasets::InputSpec::preset("half", [3, 32, 32]).unwrap();
    datasets::open(&spec, &input).unwrap()
}

/// The network, and with three quarters of every group.
fn networks(has_softmax: bool) -> (Graph, Graph) {
    let mut graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap();
    if has_softmax {
        let logits = graph.outputs()[0];
        let softmax = graph.push("softmax", Softmax { axis: 1 }.into(), &[logits]);
        graph = graph.with_outputs(vec![softmax.unwrap()]);
    }
    let analysis = analyse(&graph).unwrap();
    let order = importance_order(&graph, &analysis);
    let widths: Vec<usize> = analysis
        .groups()
        .iter()
        .map(|g| g.channels * 3 / 4)
        .collect();
    let plan = PrunePlan::from_widths(&analysis, &order, &widths).unwrap();
    let pruned = prune(&graph, &analysis, &plan).unwrap();
    (graph, pruned)
}

/// Computes outputs as another runtime would.
fn outputs(graph: &Graph) -> impl FnMut(&[f32]) -> Result<Vec<Vec<f32>>, TrainError> + use<> {
    let program = Program::compile(graph).unwrap();
    let params = Params::from_graph(graph, Device::Cpu).unwrap();
    move |rows| {
        let images = Tensor::from_slice(rows).reshape([-1, 3, 32, 32]);
        let out = program.forward(&images, &params, None, NormMode::Running)?;
        Ok(vec![Vec::try_from(&out.flatten(0, -1)).unwrap()])
    }
}

fn check(task: Arc<dyn Task>, has_softmax: bool) {
    let (original, pruned) = networks(has_softmax);
    let data = splits().search;
    let subject = Subject {
        graph: &pruned,
        task: &*task,
        original: task.follows_original().then_some(&original),
    };
    let expected = score(subject, data.as_ref(), 16, Runtime::default()).unwrap();
    let samples = GivenSamples {
        count: data.len(),
        data,
        seed: 0,
        batch: 7,
    };
    let scorer = GivenScorer::new(&original, task, &samples, &mut outputs(&original)).unwrap();
    let own = scorer.score(&mut outputs(&original)).unwrap();
    assert!(own.distance < 1e-9, "{}", own.distance);
    let given = scorer.score(&mut outputs(&pruned)).unwrap();
    assert!((given.score.value - expected.value).abs() < 1e-6);
    assert_eq!(given.score.total, expected.total);
    assert!(given.distance > 1e-6, "{}", given.distance);
}

#[test]
fn a_classifier_is_scored_alike_with_and_without_a_softmax() {
    check(Arc::new(Classification), false);
    check(Arc::new(Classification), true);
}

#[test]
fn fidelity_does_not_depend_on_where_outputs_are_computed() {
    for has_softmax in [false, true] {
        let (original, _) = networks(has_softmax);
        let train = splits().train;
        let samples = (40, 3);
        let here = Follow::new(&original, &[], train.as_ref(), samples, Runtime::default());
        let elsewhere = Follow::elsewhere(
            &original,
            &[],
            train.as_ref(),
            (40, 3, 16),
            &mut outputs(&original),
        );
        let (here, elsewhere) = (here.unwrap(), elsewhere.unwrap());
        assert_eq!(here.words(), elsewhere.words());
        check(Arc::new(here), has_softmax);
        check(Arc::new(elsewhere), has_softmax);
    }
}

#[test]
fn outputs_of_another_size_are_refused_by_name() {
    let (original, _) = networks(false);
    let data = splits().search;
    let samples = GivenSamples {
        count: 8,
        data,
        seed: 0,
        batch: 8,
    };
    let mut short = |_: &[f32]| Ok::<_, TrainError>(vec![vec![0.0; 3]]);
    let refused = GivenScorer::new(&original, Arc::new(Classification), &samples, &mut short);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("3 values of the output"), "{error}");
}
