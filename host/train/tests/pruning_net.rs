//! Graph PruningNet: topology, features, warm start, embeddings and materialising.

mod common;

use channels::{PrunePlan, cut};
use common::{Subject, data, joint_config, loader, subject};
use tch::{Device, Kind, Tensor};
use torch_exec::{NormMode, Params, Program};
use train::{
    FEATURES, PruningNet, PruningNetConfig, Runtime, Silent, Start, Topology, TrainError,
    materialise, read, train_joint,
};

fn net(subject: &Subject, config: &PruningNetConfig, seed: u64) -> PruningNet {
    PruningNet::new(&subject.graph, &subject.analysis, config, Device::Cpu, seed).unwrap()
}

fn images() -> Tensor {
    read(&*data(12, 9), &(0..12).collect::<Vec<_>>(), Device::Cpu)
        .unwrap()
        .0
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

#[test]
fn the_topology_of_a_residual_block_has_an_edge_for_the_shortcut() {
    let subject = subject();
    let topology = Topology::new(&subject.graph, &subject.analysis);
    let names: Vec<&str> = topology.layers().iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["stem", "a", "b", "dense"]);
    assert_eq!(topology.edges(), [(0, 1), (1, 2), (0, 3), (2, 3)]);
    assert_eq!(topology.adjacency().len(), 16);
}

#[test]
fn features_follow_the_widths_of_a_layers_groups() {
    let subject = subject();
    let topology = Topology::new(&subject.graph, &subject.analysis);
    let full = topology.features(&subject.full);
    assert_eq!(full.len(), 4 * FEATURES);
    assert!(full.chunks(FEATURES).all(|x| x[0] == 1.0 && x[1] == 1.0));
    for (g, group) in subject.analysis.groups().iter().enumerate() {
        let mut widths = subject.full.clone();
        widths[g] /= 2;
        let half = topology.features(&widths);
        for (layer, x) in topology.layers().iter().zip(half.chunks(FEATURES)) {
            let writes = group.producers.contains(&layer.node);
            assert_eq!(
                x[1],
                if writes { 0.5 } else { 1.0 },
                "{} in group {}",
                layer.name,
                group.name
            );
        }
    }
}

#[test]
fn a_warm_start_at_full_width_is_the_original_network() {
    let subject = subject();
    let program = Program::compile(&subject.graph).unwrap();
    let params = Params::from_graph(&subject.graph, Device::Cpu).unwrap();
    let original =
        tch::no_grad(|| program.forward(&images(), &params, None, NormMode::Running)).unwrap();
    for (u_scale, tolerance) in [(0.0, 1e-6), (PruningNetConfig::default().u_scale, 2e-2)] {
        let net = net(
            &subject,
            &PruningNetConfig {
                u_scale,
                ..Default::default()
            },
            1,
        );
        let bound = net.bind(&subject.full, None).unwrap();
        let got =
            tch::no_grad(|| program.forward(&images(), &bound, None, NormMode::Running)).unwrap();
        let scale = original.abs().max().double_value(&[]);
        assert!(
            apart(&original, &got) <= tolerance * scale,
            "u_scale {u_scale}"
        );
    }
}

#[test]
fn generated_weights_depend_on_the_widths_and_the_seed_only() {
    let subject = subject();
    let config = PruningNetConfig {
        u_scale: 1.0,
        start: Start::Scratch,
        ..Default::default()
    };
    let halves: Vec<usize> = subject.full.iter().map(|w| w / 2).collect();
    let weights = |net: &PruningNet, widths: &[usize]| {
        let bound = net.bind(widths, None).unwrap();
        let parts: Vec<Tensor> = net
            .topology()
            .layers()
            .iter()
            .map(|l| bound.generated()[&l.weight].flatten(0, -1))
            .collect();
        Tensor::cat(&parts, 0).detach()
    };
    let one = net(&subject, &config, 1);
    assert_eq!(
        weights(&one, &halves),
        weights(&net(&subject, &config, 1), &halves)
    );
    assert!(apart(&weights(&one, &halves), &weights(&one, &subject.full)) > 1e-4);
    assert!(
        apart(
            &weights(&one, &halves),
            &weights(&net(&subject, &config, 2), &halves)
        ) > 1e-3
    );
}

#[test]
fn a_factored_generator_yields_weights_of_the_same_shape_and_trains() {
    let subject = subject();
    let config = PruningNetConfig {
        factor_above: 100,
        rank: 2,
        ..Default::default()
    };
    let net = net(&subject, &config, 1);
    let bound = net.bind(&subject.full, None).unwrap();
    let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
    for layer in net.topology().layers() {
        let weight = &bound.generated()[&layer.weight];
        let dims: Vec<i64> = subject
            .graph
            .dims(layer.weight)
            .unwrap()
            .iter()
            .map(|&d| d as i64)
            .collect();
        assert_eq!(weight.size(), dims);
        sum += weight.sum(Kind::Float);
    }
    sum.backward();
}

#[test]
fn the_embedding_of_a_group_is_the_mean_over_its_producers() {
    let subject = subject();
    let net = net(&subject, &PruningNetConfig::default(), 4);
    let layers = net.embeddings(&subject.full).unwrap();
    let groups = net.group_embeddings(&subject.full).unwrap();
    assert_eq!(
        (layers.len(), layers[0].len(), groups.len()),
        (4, 32, subject.full.len())
    );
    for (group, got) in subject.analysis.groups().iter().zip(&groups) {
        let position = |id| net.topology().layers().iter().position(|l| l.node == id);
        let producers = group.producers.iter();
        let members: Vec<usize> = producers.filter_map(|&p| position(p)).collect();
        for (k, got) in got.iter().enumerate() {
            let mean = members.iter().map(|&m| layers[m][k]).sum::<f32>() / members.len() as f32;
            assert!((mean - got).abs() < 1e-5);
        }
    }
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    let subject = subject();
    let net = net(&subject, &PruningNetConfig::default(), 4);
    for bad in [
        vec![],
        vec![0; subject.full.len()],
        subject.full.iter().map(|w| w + 1).collect(),
    ] {
        assert!(
            matches!(net.bind(&bad, None), Err(TrainError::Widths { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn a_checkpoint_restores_the_net_and_that_of_another_network_is_refused() {
    let subject = subject();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("joint.safetensors");
    let config = PruningNetConfig::default();
    let mut joint = subject.joint(&config, &joint_config(1, 0.05), 1);
    train_joint(&mut joint, &loader(16, 16), Some(&path), &mut Silent).unwrap();
    let embeddings = |net: &PruningNet| net.embeddings(&subject.full).unwrap();
    let mut restored = net(&subject, &config, 2);
    assert_ne!(embeddings(joint.net()), embeddings(&restored));
    restored.load(&path).unwrap();
    assert_eq!(embeddings(joint.net()), embeddings(&restored));
    let narrow = PruningNetConfig {
        hidden: 8,
        ..config
    };
    let mut other = net(&subject, &narrow, 2);
    assert!(matches!(
        other.load(&path),
        Err(TrainError::Checkpoint { .. })
    ));
}

#[test]
fn the_materialised_graph_computes_what_the_bound_weights_compute() {
    let subject = subject();
    let config = PruningNetConfig {
        u_scale: 0.5,
        ..Default::default()
    };
    let net = net(&subject, &config, 1);
    let widths: Vec<usize> = subject.full.iter().map(|w| w / 2).collect();
    let plan = PrunePlan::from_widths(&subject.analysis, &subject.order, &widths).unwrap();
    let cut = cut(&subject.graph, &subject.analysis, &plan).unwrap();
    let runtime = Runtime::default();
    let _guard = tch::no_grad_guard();
    for calibration in [vec![], vec![images()]] {
        let stored = calibration.is_empty();
        let calibration = calibration.into();
        let pruned = materialise(&net, subject.prunable(), &widths, &calibration, runtime).unwrap();
        let program = Program::compile(&pruned).unwrap();
        let params = Params::from_graph(&pruned, Device::Cpu).unwrap();
        let got = program
            .forward(&images(), &params, None, NormMode::Running)
            .unwrap();
        let program = Program::compile(&subject.graph).unwrap();
        let bound = net.bind(&widths, Some(&cut)).unwrap();
        let expected = if stored {
            program
                .forward(&images(), &bound, Some(&cut), NormMode::Running)
                .unwrap()
        } else {
            let stats = torch_exec::reestimate(&program, &bound, Some(&cut), [images()]).unwrap();
            let overlay = torch_exec::Overlay {
                base: &bound,
                stats: &stats,
            };
            program
                .forward(&images(), &overlay, Some(&cut), NormMode::Running)
                .unwrap()
        };
        assert!(apart(&got, &expected) < 1e-4);
    }
}
