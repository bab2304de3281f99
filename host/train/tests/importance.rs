//! Importance by masks equals what gradients of weights give, image by image.

mod common;

use channels::{Importance, Magnitude, importance_order};
use common::{Subject, data, subject};
use tch::{Kind, Reduction, Tensor};
use torch_exec::{NormMode, Params, Program};
use train::{
    Classification, GeneticSelection, GroupFisher, MaskedLoss, Runtime, StructuredObs, Taylor, read,
};

/// Producers of the groups of the test network, by name: a mask on what a convolution and its batch
/// normalisation write scales the latter's scale and bias.
const PRODUCERS: [&[&str]; 2] = [&["stem", "b"], &["a"]];

fn batches(images: usize, batch: usize) -> Vec<(Tensor, Tensor)> {
    let data = data(images, 4);
    let indices: Vec<usize> = (0..images).collect();
    let batches = indices.chunks(batch);
    batches
        .map(|indices| read(&*data, indices, Runtime::default().device).unwrap())
        .collect()
}

/// Returns, per group, unit and image, the derivative of the cross-entropy by a mask of one, by the
/// gradients of one image's backward pass.
fn brute_force(batches: &[(Tensor, Tensor)]) -> Vec<Vec<Vec<f64>>> {
    let subject = subject();
    let graph = &subject.graph;
    let program = Program::compile(graph).unwrap();
    let params = Params::from_graph(graph, tch::Device::Cpu).unwrap();
    let mut out: Vec<Vec<Vec<f64>>> = subject
        .analysis
        .groups()
        .iter()
        .map(|group| vec![Vec::new(); group.channels])
        .collect();
    for (images, labels) in batches {
        for image in 0..images.size()[0] {
            let (one, label) = (images.narrow(0, image, 1), labels.narrow(0, image, 1));
            let logits = program.forward(&one, &params, None, NormMode::Running);
            let loss = logits.unwrap().cross_entropy_loss::<&Tensor>(
                &label,
                None,
                Reduction::Sum,
                -100,
                0.0,
            );
            for (group, producers) in PRODUCERS.iter().enumerate() {
                let mut sum = vec![0.0; out[group].len()];
                for producer in *producers {
                    for part in ["scale", "bias"] {
                        let id = graph.find_value(&format!("{producer}.bn.{part}")).unwrap();
                        let weight = params.get(id).unwrap();
                        let gradient = Tensor::run_backward(&[&loss], &[&weight], true, false);
                        let product = (&weight * &gradient[0]).detach().to_kind(Kind::Double);
                        let product: Vec<f64> = Vec::try_from(&product).unwrap();
                        sum.iter_mut().zip(product).for_each(|(s, of)| *s += of);
                    }
                }
                for (unit, of) in out[group].iter_mut().zip(sum) {
                    unit.push(of);
                }
            }
        }
    }
    out
}

/// Expects scores that equal `of` the derivatives of each unit's images.
fn check(scores: &[Vec<f64>], derivatives: &[Vec<Vec<f64>>], of: impl Fn(&[f64]) -> f64) {
    for (group, (scores, units)) in scores.iter().zip(derivatives).enumerate() {
        let expected: Vec<f64> = units.iter().map(|unit| of(unit)).collect();
        let largest = expected.iter().copied().fold(0.0, f64::max);
        assert!(largest > 0.0, "group {group} has no gradient");
        for (unit, (score, expected)) in scores.iter().zip(&expected).enumerate() {
            assert!(
                (score - expected).abs() <= 1e-5 * largest,
                "group {group}, unit {unit}: {score}, by brute force {expected}"
            );
        }
    }
}

#[test]
fn group_fisher_is_the_mean_square_of_every_images_own_gradient_summed_over_coupled_layers() {
    let batches = batches(24, 8);
    let subject = subject();
    let fisher = GroupFisher {
        task: &Classification,
        batches: &batches,
        loss: MaskedLoss::CrossEntropy,
        projections: 1,
        seed: 0,
    };
    let scores = fisher.scores(&subject.graph, &subject.analysis).unwrap();
    let square = |of: &[f64]| of.iter().map(|d| d * d).sum::<f64>() / of.len() as f64;
    check(&scores.groups, &brute_force(&batches), square);
}

#[test]
fn taylor_is_the_absolute_mean_of_the_same_gradients() {
    let batches = batches(24, 8);
    let subject = subject();
    let scores = Taylor {
        task: &Classification,
        batches: &batches,
    }
    .scores(&subject.graph, &subject.analysis);
    let mean = |of: &[f64]| (of.iter().sum::<f64>() / of.len() as f64).abs();
    check(&scores.unwrap().groups, &brute_force(&batches), mean);
}

#[test]
fn projections_approach_the_gauss_newton_diagonal_and_need_no_labels() {
    let batches = batches(12, 12);
    let subject = subject();
    let scores = |projections, seed| {
        let fisher = GroupFisher {
            task: &Classification,
            batches: &batches,
            loss: MaskedLoss::GaussNewton,
            projections,
            seed,
        };
        let scores = fisher.scores(&subject.graph, &subject.analysis).unwrap();
        scores.groups.concat()
    };
    let (one, other) = (scores(400, 1), scores(400, 2));
    let distance = |a: &[f64], b: &[f64]| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
        let norm: f64 = a.iter().map(|a| a * a).sum();
        (squares.sum::<f64>() / norm).sqrt()
    };
    // The mean of 400 projections differs by about 1.4 / sqrt(400).
    assert!(distance(&one, &other) < 0.15, "{}", distance(&one, &other));
    assert_eq!(scores(2, 5), scores(2, 5), "equal seeds give equal scores");
}

#[test]
fn an_order_lists_the_units_from_the_highest_score() {
    let subject = subject();
    let Ok(scores) = Magnitude.scores(&subject.graph, &subject.analysis);
    assert_eq!(
        scores.order(),
        importance_order(&subject.graph, &subject.analysis)
    );
    for (order, scores) in scores.order().iter().zip(&scores.groups) {
        assert!(
            order
                .windows(2)
                .all(|pair| scores[pair[0]] >= scores[pair[1]])
        );
    }
}

/// The least mean squared error of `sums` by the columns of `inputs` in `kept`, both centred.
fn least_error(inputs: &Tensor, sums: &Tensor, kept: &[i64]) -> f64 {
    let x = inputs.index_select(1, &Tensor::from_slice(kept));
    let gram = x.transpose(0, 1).mm(&x);
    let weight = gram
        .linalg_pinv(1e-12, true)
        .mm(&x.transpose(0, 1).mm(sums));
    let error = (sums - x.mm(&weight)).square().sum(Kind::Double);
    error.double_value(&[]) / inputs.size()[0] as f64
}

/// The inputs of the convolution 'b', 3x3 with padding 1, which alone reads the second group; its
/// sums; and their mean square. Both are centred.
fn read_by_b(subject: &Subject, batches: &[(Tensor, Tensor)]) -> (Tensor, Tensor, f64) {
    let graph = &subject.graph;
    let program = Program::compile(graph).unwrap();
    let params = Params::from_graph(graph, tch::Device::Cpu).unwrap();
    let images: Vec<&Tensor> = batches.iter().map(|(images, _)| images).collect();
    let (value, mode) = (graph.find_value("a.relu_out").unwrap(), NormMode::Running);
    let (_, taps) = tch::no_grad(|| {
        program.forward_with(&Tensor::cat(&images, 0), &params, None, mode, &[value])
    })
    .unwrap();
    let columns = taps[0].im2col([3, 3], [1, 1], [1, 1], [1, 1]);
    let inputs = columns.transpose(1, 2).flatten(0, 1).to_kind(Kind::Double);
    let inputs = &inputs - inputs.mean_dim(0i64, true, Kind::Double);
    let constant = |name: &str| {
        let weight = params.get(graph.find_value(name).unwrap()).unwrap();
        weight.detach().to_kind(Kind::Double)
    };
    let factor = constant("b.bn.scale") / (constant("b.bn.var") + 1e-5).sqrt();
    let weight = constant("b.w").flatten(1, -1) * factor.unsqueeze(1);
    let sums = inputs.mm(&weight.transpose(0, 1));
    let energy = sums.square().sum(Kind::Double).double_value(&[]) / inputs.size()[0] as f64;
    (inputs, sums, energy)
}

#[test]
fn structured_obs_drops_what_a_refit_of_the_rest_misses_least() {
    let batches = batches(30, 15);
    let subject = subject();
    let obs = StructuredObs {
        batches: &batches,
        rows: 100_000,
        ridge: 1e-12,
        seed: 0,
    };
    let scores = obs.scores(&subject.graph, &subject.analysis).unwrap();

    let (inputs, sums, energy) = read_by_b(&subject, &batches);
    let units = subject.analysis.groups()[1].channels;
    let mut kept: Vec<usize> = (0..units).collect();
    let (mut before, mut highest) = (0.0, 0.0f64);
    let mut expected = vec![0.0; units];
    while kept.len() > 1 {
        let error = |unit: usize| {
            let rest = kept.iter().filter(|&&of| of != unit);
            let rest: Vec<i64> = rest
                .flat_map(|&of| (of as i64 * 9)..(of as i64 * 9 + 9))
                .collect();
            least_error(&inputs, &sums, &rest)
        };
        let errors = kept.iter().map(|&unit| (error(unit), unit));
        let (least, unit) = errors.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        highest = highest.max((least - before) / energy);
        expected[unit] = highest;
        before = least;
        kept.retain(|&of| of != unit);
    }
    for unit in (0..units).filter(|unit| !kept.contains(unit)) {
        let (score, expected) = (scores.groups[1][unit], expected[unit]);
        assert!(
            (score - expected).abs() < 1e-3 * highest,
            "unit {unit}: {score}, by brute force {expected}"
        );
    }
    assert_eq!(
        scores.order()[1][0],
        kept[0],
        "the last one left is the most important"
    );
}

#[test]
fn groups_that_obs_cannot_judge_are_ordered_by_magnitude() {
    let batches = batches(30, 15);
    let subject = subject();
    // The layers that read the groups have 72 and 108 inputs at each position.
    let obs = StructuredObs {
        rows: 90,
        ..StructuredObs::new(&batches, 0)
    };
    let order = obs
        .scores(&subject.graph, &subject.analysis)
        .unwrap()
        .order();
    assert_eq!(
        order[1],
        importance_order(&subject.graph, &subject.analysis)[1]
    );
}

#[test]
fn a_genetic_selection_is_the_best_of_a_small_group_and_never_worse_than_importance() {
    let subject = subject();
    let batches = batches(30, 15);
    let obs = StructuredObs {
        batches: &batches,
        rows: 100_000,
        ridge: 1e-12,
        seed: 0,
    };
    let network = (&subject.graph, &subject.analysis);
    // A poor order, which leaves much to gain.
    let mut order = obs.scores(network.0, network.1).unwrap().order();
    order.iter_mut().for_each(|order| order.reverse());
    let half: Vec<usize> = subject.full.iter().map(|full| full / 2).collect();
    let genetic = GeneticSelection::default();
    let selection = genetic.select(network, &obs, &order, &half).unwrap();
    let again = genetic.select(network, &obs, &order, &half).unwrap();
    assert_eq!(selection, again, "equal seeds give equal selections");
    for (group, errors) in selection.errors.iter().enumerate() {
        let mut units = selection.order[group].clone();
        units.sort_unstable();
        assert!(
            units.into_iter().eq(0..subject.full[group]),
            "a permutation"
        );
        let (by_importance, chosen) = errors.unwrap();
        assert!(chosen < by_importance, "{group}: {chosen}, {by_importance}");
    }

    let (inputs, sums, energy) = read_by_b(&subject, &batches);
    let error = |kept: &[usize]| {
        let columns = kept
            .iter()
            .flat_map(|&u| (u as i64 * 9)..(u as i64 * 9 + 9));
        least_error(&inputs, &sums, &columns.collect::<Vec<_>>()) / energy
    };
    let (units, width) = (subject.full[1], half[1]);
    let sets = (0..1u32 << units).filter(|set| set.count_ones() as usize == width);
    let best = sets
        .map(|set| {
            let kept: Vec<usize> = (0..units).filter(|u| set >> u & 1 == 1).collect();
            error(&kept)
        })
        .fold(f64::INFINITY, f64::min);
    let chosen = error(&selection.order[1][..width]);
    assert!(chosen <= best * (1.0 + 1e-6), "{chosen}, at best {best}");
    let (_, stated) = selection.errors[1].unwrap();
    assert!((stated / chosen - 1.0).abs() < 1e-3, "{stated}, {chosen}");
}
