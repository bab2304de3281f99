//! Graph PruningNet: topology, features, warm start, embeddings, materialising.

mod common;

use channels::{PrunePlan, cut};
use common::{Scene, data, scene};
use tch::{Device, Kind, Tensor};
use torch_exec::{NormMode, Params, Program};
use train::{
    FEATURES, PruningNet, PruningNetConfig, Runtime, Start, Topology, TrainError, materialise, read,
};

fn net(scene: &Scene, config: &PruningNetConfig, seed: u64) -> PruningNet {
    PruningNet::new(&scene.graph, &scene.analysis, config, Device::Cpu, seed).unwrap()
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
fn the_topology_of_a_residual_block_has_the_short_cut_as_an_edge() {
    let scene = scene();
    let topology = Topology::new(&scene.graph, &scene.analysis);
    let names: Vec<&str> = topology.layers().iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["stem", "a", "b", "dense"]);
    assert_eq!(topology.edges(), [(0, 1), (1, 2), (0, 3), (2, 3)]);
    assert_eq!(topology.adjacency().len(), 16);
}

#[test]
fn features_follow_the_widths_of_the_groups_that_a_layer_reads_and_writes() {
    let scene = scene();
    let topology = Topology::new(&scene.graph, &scene.analysis);
    let full = topology.features(&scene.full);
    assert_eq!(full.len(), 4 * FEATURES);
    assert!(full.chunks(FEATURES).all(|x| x[0] == 1.0 && x[1] == 1.0));
    for (g, group) in scene.analysis.groups().iter().enumerate() {
        let mut widths = scene.full.clone();
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
    let scene = scene();
    let program = Program::compile(&scene.graph).unwrap();
    let params = Params::from_graph(&scene.graph, Device::Cpu).unwrap();
    let original =
        tch::no_grad(|| program.forward(&images(), &params, None, NormMode::Running)).unwrap();
    for (u_scale, tolerance) in [(0.0, 1e-6), (PruningNetConfig::default().u_scale, 2e-2)] {
        let net = net(
            &scene,
            &PruningNetConfig {
                u_scale,
                ..Default::default()
            },
            1,
        );
        let bound = net.bind(&scene.full, None).unwrap();
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
    let scene = scene();
    let config = PruningNetConfig {
        u_scale: 1.0,
        start: Start::Scratch,
        ..Default::default()
    };
    let halves: Vec<usize> = scene.full.iter().map(|w| w / 2).collect();
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
    let one = net(&scene, &config, 1);
    assert_eq!(
        weights(&one, &halves),
        weights(&net(&scene, &config, 1), &halves)
    );
    assert!(apart(&weights(&one, &halves), &weights(&one, &scene.full)) > 1e-4);
    assert!(
        apart(
            &weights(&one, &halves),
            &weights(&net(&scene, &config, 2), &halves)
        ) > 1e-3
    );
}

#[test]
fn a_factored_generator_gives_weights_of_the_same_shape_and_trains() {
    let scene = scene();
    let config = PruningNetConfig {
        factor_above: 100,
        rank: 2,
        ..Default::default()
    };
    let net = net(&scene, &config, 1);
    let bound = net.bind(&scene.full, None).unwrap();
    let mut sum = Tensor::zeros([], (Kind::Float, Device::Cpu));
    for layer in net.topology().layers() {
        let weight = &bound.generated()[&layer.weight];
        let dims: Vec<i64> = scene
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
    let scene = scene();
    let net = net(&scene, &PruningNetConfig::default(), 4);
    let layers = net.embeddings(&scene.full).unwrap();
    let groups = net.group_embeddings(&scene.full).unwrap();
    assert_eq!(
        (layers.len(), layers[0].len(), groups.len()),
        (4, 32, scene.full.len())
    );
    for (group, got) in scene.analysis.groups().iter().zip(&groups) {
        let at = |id| net.topology().layers().iter().position(|l| l.node == id);
        let members: Vec<usize> = group.producers.iter().filter_map(|&p| at(p)).collect();
        for (k, got) in got.iter().enumerate() {
            let mean = members.iter().map(|&m| layers[m][k]).sum::<f32>() / members.len() as f32;
            assert!((mean - got).abs() < 1e-5);
        }
    }
}

#[test]
fn widths_that_do_not_fit_are_refused() {
    let scene = scene();
    let net = net(&scene, &PruningNetConfig::default(), 4);
    for bad in [
        vec![],
        vec![0; scene.full.len()],
        scene.full.iter().map(|w| w + 1).collect(),
    ] {
        assert!(
            matches!(net.bind(&bad, None), Err(TrainError::Widths { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn a_saved_net_comes_back_and_another_networks_is_refused() {
    let scene = scene();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.safetensors");
    let one = net(&scene, &PruningNetConfig::default(), 1);
    one.save(&path, 1).unwrap();
    let mut two = net(&scene, &PruningNetConfig::default(), 2);
    assert_ne!(
        one.embeddings(&scene.full).unwrap(),
        two.embeddings(&scene.full).unwrap()
    );
    two.load(&path).unwrap();
    assert_eq!(
        one.embeddings(&scene.full).unwrap(),
        two.embeddings(&scene.full).unwrap()
    );
    let mut other = net(
        &scene,
        &PruningNetConfig {
            hidden: 8,
            ..Default::default()
        },
        2,
    );
    assert!(matches!(
        other.load(&path),
        Err(TrainError::Checkpoint { .. })
    ));
}

#[test]
fn the_materialised_graph_computes_what_the_bound_weights_compute() {
    let scene = scene();
    let config = PruningNetConfig {
        u_scale: 0.5,
        ..Default::default()
    };
    let net = net(&scene, &config, 1);
    let widths: Vec<usize> = scene.full.iter().map(|w| w / 2).collect();
    let plan = PrunePlan::from_widths(&scene.analysis, &scene.order, &widths).unwrap();
    let cut = cut(&scene.graph, &scene.analysis, &plan).unwrap();
    let runtime = Runtime::default();
    let _guard = tch::no_grad_guard();
    for calibration in [vec![], vec![images()]] {
        let stored = calibration.is_empty();
        let pruned = materialise(
            &net,
            &scene.graph,
            &scene.analysis,
            &scene.order,
            &widths,
            &calibration.into(),
            runtime,
        )
        .unwrap();
        let program = Program::compile(&pruned).unwrap();
        let params = Params::from_graph(&pruned, Device::Cpu).unwrap();
        let got = program
            .forward(&images(), &params, None, NormMode::Running)
            .unwrap();
        let program = Program::compile(&scene.graph).unwrap();
        let bound = net.bind(&widths, Some(&cut)).unwrap();
        let wanted = if stored {
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
        assert!(apart(&got, &wanted) < 1e-4);
    }
}
