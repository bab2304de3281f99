//! What another runtime computes is scored as what libtorch computes.

use std::sync::Arc;

use channels::{PrunePlan, analyse, importance_order, prune};
use datasets::Splits;
use onnx_graph::Graph;
use onnx_graph::ops::{Identity, Op, ReduceMax, Relu, Reshape, Sigmoid, Softmax};
use torch_exec::{Device, NormMode, Params, Program, Tensor};
use train::{
    Classification, Follow, Followed, GivenSamples, GivenScorer, OutputForm, Runtime, Subject,
    Task, TrainError, score,
};

fn splits() -> Splits {
    let spec = "shapes:train=60,test=20".parse().unwrap();
    let input = datasets::InputSpec::preset("half", [3, 32, 32]).unwrap();
    datasets::open(&spec, &input).unwrap()
}

/// A softmax, and what may follow it.
fn softmax(behind: &[Op]) -> Vec<Op> {
    [&[Softmax { axis: 1 }.into()], behind].concat()
}

fn reshape(target: &[i64]) -> Op {
    let target = target.to_vec();
    let allow_zero = false;
    Reshape { target, allow_zero }.into()
}

/// Tails of a classifier, and whether its output holds choices of classes.
fn tails() -> Vec<(Vec<Op>, bool)> {
    vec![
        (vec![], false),
        (softmax(&[]), true),
        (softmax(&[Identity.into()]), true),
        (softmax(&[Identity.into(), reshape(&[0, 1, -1])]), true),
        (softmax(&[reshape(&[0, -1, 1]), reshape(&[0, -1])]), true),
        (softmax(&[Relu.into()]), false),
    ]
}

/// The network with a tail, and with three quarters of every group.
fn networks(tail: &[Op]) -> (Graph, Graph) {
    let mut graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap();
    for (i, op) in tail.iter().enumerate() {
        let before = graph.outputs()[0];
        let output = graph.push(&format!("tail{i}"), op.clone(), &[before]);
        graph = graph.with_outputs(vec![output.unwrap()]);
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

fn check(task: Arc<dyn Task>, tail: &[Op]) {
    let (original, pruned) = networks(tail);
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
    for (tail, _) in tails() {
        check(Arc::new(Classification), &tail);
    }
}

#[test]
fn fidelity_does_not_depend_on_where_outputs_are_computed() {
    for (tail, has_classes) in tails() {
        let (original, _) = networks(&tail);
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
        assert_eq!(here.words().contains("classes"), has_classes, "{tail:?}");
        check(Arc::new(here), &tail);
        check(Arc::new(elsewhere), &tail);
    }
}

#[test]
fn one_channel_behind_a_sigmoid_is_a_yes_or_no() {
    let largest = ReduceMax {
        axes: vec![1],
        keepdims: true,
    };
    let tail: [Op; 3] = [largest.into(), Sigmoid.into(), reshape(&[0, 1, 1])];
    let (original, pruned) = networks(&tail);
    let named = |form: OutputForm| Followed {
        name: original.value(original.outputs()[0]).name.clone(),
        weight: 1.0,
        form: Some(form),
    };
    let data = splits().search;
    let task = |form| {
        let (samples, runtime) = ((40, 3), Runtime::default());
        Follow::new(&original, &[named(form)], data.as_ref(), samples, runtime).unwrap()
    };
    let choices = task(OutputForm::Classes);
    let subject = Subject {
        graph: &pruned,
        task: &choices,
        original: Some(&original),
    };
    let found = score(subject, data.as_ref(), 16, Runtime::default()).unwrap();
    let probabilities = |graph: &Graph| -> Vec<f32> {
        let mut rows = vec![0.0; 3 * 32 * 32];
        let each = (0..data.len()).map(|index| {
            data.decode(index, &mut rows).unwrap();
            outputs(graph)(&rows).unwrap()[0][0]
        });
        each.collect()
    };
    let (before, after) = (probabilities(&original), probabilities(&pruned));
    let pairs = before.iter().zip(&after);
    let equal = pairs.filter(|(a, b)| (**a > 0.5) == (**b > 0.5)).count();
    assert!((found.value - equal as f64 / before.len() as f64).abs() < 1e-6);
    assert!(found.divergence.unwrap() > 0.0);
    check(Arc::new(choices), &tail);
}

#[test]
fn outputs_of_another_size_are_refused_by_name() {
    let (original, _) = networks(&[]);
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
