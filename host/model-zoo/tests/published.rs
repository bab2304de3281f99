//! The networks are the published ones: parameter and multiplication counts, names, determinism.

use model_zoo::{Layout, ZooConfig, ZooError, build, names};
use onnx_graph::cost::costs;
use onnx_graph::ops::Op;
use onnx_graph::{Dim, Graph};

/// Learned parameters: convolution and linear weights and biases, BatchNorm scale and bias.
fn learned(graph: &Graph) -> usize {
    let elements = |v| graph.constant(v).map_or(0, onnx_graph::Tensor::len);
    let per_node = graph.nodes().iter().map(|node| {
        let inputs = if matches!(node.op, Op::BatchNormalization(_)) {
            1..3
        } else {
            1..node.inputs.len().max(1)
        };
        inputs
            .filter_map(|i| node.input(i))
            .map(elements)
            .sum::<usize>()
    });
    per_node.sum()
}

/// Multiply-accumulates of convolutions and linear layers, from first principles: weights times
/// output positions.
fn multiplications(graph: &Graph) -> u64 {
    let of = |node: &onnx_graph::Node| {
        let weight = graph.constant(node.input(1)?)?.len();
        let shape = graph.value(node.output()).shape.as_ref()?;
        let positions: usize = match node.op {
            Op::Conv(_) => shape[2..].iter().filter_map(Dim::known).product(),
            Op::Gemm(_) => 1,
            _ => return None,
        };
        Some((weight * positions) as u64)
    };
    graph.nodes().iter().filter_map(of).sum()
}

#[track_caller]
fn check(name: &str, config: &ZooConfig, parameters: usize, macs: u64) {
    let graph = build(name, config).unwrap();
    assert_eq!(learned(&graph), parameters, "{name}: parameters");
    assert_eq!(multiplications(&graph), macs, "{name}: multiplications");
    let costs = costs(&graph);
    assert_eq!(
        costs.macs, macs,
        "{name}: multiplications as the cost model counts them"
    );
}

// Parameter counts: torchvision's documentation of the model weights; the table of
// github.com/akamaster/pytorch_resnet_cifar10 (0.27M, 0.46M, 0.85M) for the CIFAR networks with
// option-A short-cuts; Keras' documentation (4.2M) for MobileNet.
#[test]
fn resnet20_has_its_published_size() {
    check("resnet20", &ZooConfig::default(), 269_722, 40_551_040);
}
#[test]
fn resnet32_has_its_published_size() {
    check("resnet32", &ZooConfig::default(), 464_154, 68_862_592);
}
#[test]
fn resnet56_has_its_published_size() {
    check("resnet56", &ZooConfig::default(), 853_018, 125_485_696);
}
#[test]
fn resnet18_has_its_published_size() {
    check(
        "resnet18",
        &ZooConfig::imagenet(),
        11_689_512,
        1_814_073_344,
    );
}
#[test]
fn resnet50_has_its_published_size() {
    check(
        "resnet50",
        &ZooConfig::imagenet(),
        25_557_032,
        4_089_184_256,
    );
}
#[test]
fn mobilenet_v1_has_its_published_size() {
    check(
        "mobilenet_v1",
        &ZooConfig::imagenet(),
        4_231_976,
        568_740_352,
    );
}
#[test]
fn mobilenet_v2_has_its_published_size() {
    check(
        "mobilenet_v2",
        &ZooConfig::imagenet(),
        3_504_872,
        300_774_272,
    );
}
#[test]
fn mobilenet_v2_at_half_width_has_its_published_size() {
    check(
        "mobilenet_v2",
        &ZooConfig {
            width_mult: 0.5,
            ..ZooConfig::imagenet()
        },
        1_968_680,
        97_131_840,
    );
}
#[test]
fn vgg16_bn_has_its_published_size() {
    check(
        "vgg16_bn",
        &ZooConfig::imagenet(),
        138_365_992,
        15_470_264_320,
    );
}
#[test]
fn shapes_net_stays_small_enough_to_train_on_two_cores() {
    let graph = build("shapes_net", &ZooConfig::default()).unwrap();
    assert!((10_000_000..15_000_000).contains(&multiplications(&graph)));
}

#[test]
fn every_network_builds_for_small_and_large_images_with_an_open_batch() {
    for network in names() {
        for (input, layout) in [
            ([3, 32, 32], Layout::Auto),
            ([1, 64, 48], Layout::Auto),
            ([3, 96, 96], Layout::Large),
        ] {
            let config = ZooConfig {
                classes: 7,
                input,
                layout,
                width_mult: 0.25,
                ..ZooConfig::default()
            };
            let graph =
                build(network.name, &config).unwrap_or_else(|e| panic!("{}: {e}", network.name));
            graph.check().unwrap();
            assert_eq!(graph.value(graph.inputs()[0]).name, "input");
            let shape = graph.value(graph.outputs()[0]).shape.clone();
            assert_eq!(
                shape,
                Some(vec![Dim::Symbol("N".into()), Dim::Known(7)]),
                "{}",
                network.name
            );
        }
    }
}

#[test]
fn layers_carry_the_names_of_the_paper_and_its_implementations() {
    let graph = build("resnet18", &ZooConfig::default()).unwrap();
    for name in [
        "conv1",
        "layer1.0.conv1",
        "layer2.0.downsample.0",
        "layer4.1.bn2",
        "fc",
    ] {
        assert!(graph.nodes().iter().any(|n| n.name == name), "{name}");
    }
    assert!(graph.find_value("layer1.0.conv1.weight").is_some());
}

#[test]
fn the_seed_alone_decides_the_weights() {
    let build = |seed| {
        build(
            "shapes_net",
            &ZooConfig {
                seed,
                ..ZooConfig::default()
            },
        )
        .unwrap()
    };
    assert_eq!(build(3), build(3));
    assert_ne!(build(3), build(4));
}

#[test]
fn impossible_requests_are_refused_with_the_reason() {
    let ok = ZooConfig::default();
    assert!(
        matches!(build("resnet21", &ok), Err(ZooError::UnknownNetwork { known, .. }) if known.contains("resnet20"))
    );
    for bad in [
        ZooConfig {
            classes: 0,
            ..ok.clone()
        },
        ZooConfig {
            input: [3, 0, 32],
            ..ok.clone()
        },
        ZooConfig {
            width_mult: f64::NAN,
            ..ok.clone()
        },
        ZooConfig {
            width_mult: 1e9,
            ..ok.clone()
        },
    ] {
        assert!(
            matches!(build("resnet20", &bad), Err(ZooError::Config { .. })),
            "{bad:?}"
        );
    }
    let tiny = ZooConfig {
        input: [3, 8, 8],
        ..ok
    };
    assert!(matches!(
        build("vgg16_bn", &tiny),
        Err(ZooError::Build {
            network: "vgg16_bn",
            ..
        })
    ));
}
