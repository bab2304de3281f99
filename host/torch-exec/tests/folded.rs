//! Normalisations folded into convolutions give the outputs of those that are not.

use channels::{PrunePlan, analyse, cut, importance_order};
use model_zoo::ZooConfig;
use onnx_graph::ValueId;
use onnx_graph::ops::Op;
use torch_exec::{
    Device, Kind, NormMode, NormStats, Overlay, Params, Program, Tensor, no_grad, reestimate, seed,
};

/// Expects folded outputs of `model` to equal the others, with and without observed values, for
/// the full network and for a cut of half the channels.
fn check(model: &str) {
    let graph = model_zoo::build(model, &ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let order = importance_order(&graph, &analysis);
    let half: Vec<usize> = analysis
        .groups()
        .iter()
        .map(|g| g.channels.div_ceil(2))
        .collect();
    let plan = PrunePlan::from_widths(&analysis, &order, &half).unwrap();
    let half = cut(&graph, &analysis, &plan).unwrap();
    let program = Program::compile(&graph).unwrap();
    seed(3);
    let images = || Tensor::randn([8, 3, 32, 32], (Kind::Float, Device::Cpu)) * 2.0 + 0.5;
    let convs = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Conv(_)));
    let convs: Vec<ValueId> = convs.map(onnx_graph::Node::output).collect();
    for cut in [None, Some(&half)] {
        let params = Params::from_graph(&graph, Device::Cpu).unwrap();
        let stats: NormStats = reestimate(&program, &params, cut, [images()]).unwrap();
        let weights = Overlay {
            base: &params,
            stats: &stats,
        };
        let x = images();
        let run = |mode, taps: &[ValueId]| {
            no_grad(|| program.forward_with(&x, &weights, cut, mode, taps)).unwrap()
        };
        let (plain, values) = run(NormMode::Running, &convs);
        let scale = plain.abs().max();
        for taps in [&[][..], &convs[..1], &convs] {
            let (folded, observed) = run(NormMode::Folded, taps);
            let apart = ((&folded - &plain).abs().max() / &scale).double_value(&[]);
            assert!(apart < 1e-4, "{model}: {apart}");
            let bitwise = folded.allclose(&plain, 0.0, 0.0, false);
            assert_eq!(
                bitwise,
                taps.len() == convs.len(),
                "{model}: nothing is folded"
            );
            for (observed, value) in observed.iter().zip(&values) {
                let apart = (observed - value).abs().max() / value.abs().max();
                assert!(apart.double_value(&[]) < 1e-4, "{model}");
            }
        }
    }
}

#[test]
fn residual_networks_agree() {
    check("resnet20");
}

#[test]
fn depthwise_convolutions_agree() {
    check("mobilenet_v2");
}
