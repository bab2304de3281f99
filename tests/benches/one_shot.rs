//! How accurate a cut is before any training step, by importance and by repair.
//!
//! `cargo bench -p graphprune-tests --bench one_shot [-- MODEL...]`: the trained CIFAR networks of
//! the shared folder, whose inner widths are cut to a share (others stay whole), by each criterion:
//! as cut, with the statistics of batch normalisation estimated anew, and repaired by least
//! squares. The last column is the time of importance and repair. Accuracy is that of the test set,
//! which no step reads.

use std::time::Instant;

use channels::{Analysis, GroupId, Importance, Magnitude, PrunePlan, Scores, analyse, apply, cut};
use datasets::{Dataset, InputSpec, Splits};
use graphprune_tests::{shared_data, shared_model};
use onnx_graph::{Graph, insert_batch_norm};
use torch_exec::calibrate_norms;
use train::{
    Calibration, Classification, EvaluatorConfig, GeneticSelection, GroupFisher, MaskedLoss,
    Prunable, RepairConfig, Repairer, Runtime, StructuredObs, Taylor, draw_batches, evaluate,
    recalibrate,
};

/// Images for gradients and sums.
const IMAGES: usize = 512;
const MODELS: [&str; 2] = ["cifar10_resnet20", "cifar10_resnet56"];

/// A criterion under test.
type Criterion<'a> = Box<dyn Fn() -> Scores + 'a>;

struct Subject {
    graph: Graph,
    analysis: Analysis,
    splits: Splits,
    calibration: Calibration,
}

impl Subject {
    fn new(model: &str) -> Option<Self> {
        let bytes = shared_model(&format!("{model}.onnx"))?;
        let spec = format!("cifar10:{}", shared_data("cifar10-small")?.display());
        let input = InputSpec::preset("cifar10", [3, 32, 32]).expect("a known preset");
        let spec = spec.parse().expect("a good specification");
        let splits = datasets::open(&spec, &input).expect("the data set is whole");
        let given =
            onnx_graph::read(&bytes, &onnx_graph::NoExternalData).expect("the file is sound");
        let (mut graph, _) = insert_batch_norm(&given).expect("layers to give a norm");
        let config = EvaluatorConfig::default();
        let device = Runtime::default().device;
        let mut calibration =
            Calibration::draw(&*splits.train, &config, device).expect("images are read");
        let batches = calibration.batches().iter().map(|of| of.shallow_clone());
        calibrate_norms(&mut graph, batches).expect("the network runs");
        calibration.anchor(&graph).expect("the network runs");
        let analysis = analyse(&graph).expect("the network is sound");
        Some(Self {
            graph,
            analysis,
            splits,
            calibration,
        })
    }

    fn accuracy(&self, graph: &Graph) -> f64 {
        let test = self.splits.test.as_ref();
        let accuracy = evaluate(graph, test, 250, Runtime::default());
        accuracy.expect("the network runs").share() * 100.0
    }

    /// Half, or another share, of every group inside a block; the others at full width.
    fn widths(&self, share: f64) -> Vec<usize> {
        let groups = self.analysis.groups().iter().enumerate();
        groups
            .map(|(i, group)| match self.analysis.removal(GroupId(i)) {
                Some(_) => (group.channels as f64 * share) as usize,
                None => group.channels,
            })
            .collect()
    }

    /// One line a share of widths; with `genetic`, its selection instead of the order's.
    fn report(&self, name: &str, scores: &Criterion<'_>, genetic: Option<&StructuredObs<'_>>) {
        let clock = Instant::now();
        let order = scores().order();
        let ranking = clock.elapsed();
        let runtime = Runtime::default();
        let train: &dyn Dataset = self.splits.train.as_ref();
        let config = RepairConfig::default();
        let clock = Instant::now();
        let by_order = Prunable {
            graph: &self.graph,
            analysis: &self.analysis,
            order: &order,
        };
        let repairer = Repairer::new(by_order, train, &config, runtime).expect("images are read");
        let preparing = clock.elapsed();
        for share in [0.75, 0.5, 0.25] {
            let widths = self.widths(share);
            let clock = Instant::now();
            let selected = genetic.map(|obs| {
                let network = (&self.graph, &self.analysis);
                let selection = GeneticSelection::default().select(network, obs, &order, &widths);
                let selection = selection.expect("the order fits");
                let errors = selection.errors.iter().flatten();
                let falls = errors.map(|(before, after)| 1.0 - after / before);
                let falls: Vec<String> = falls.map(|f| format!("{:.1}", f * 100.0)).collect();
                println!("errors fall by {} %", falls.join(", "));
                selection.order
            });
            let ranking = ranking + clock.elapsed();
            let order = selected.as_ref().unwrap_or(&order);
            let plan = PrunePlan::from_widths(&self.analysis, order, &widths);
            let plan = plan.expect("the widths fit");
            let cut = cut(&self.graph, &self.analysis, &plan).expect("the plan fits");
            let plain = apply(&self.graph, &cut).expect("the cut fits");
            let mut normed = plain.clone();
            recalibrate(&mut normed, &cut, &self.calibration, runtime).expect("the network runs");
            let clock = Instant::now();
            let repaired = repairer.repair_plan(&plan).expect("the plan fits");
            let repairing = clock.elapsed();
            let graph = repaired.graph().expect("the cut fits");
            println!(
                "| {name} | {share} | {:.2} | {:.2} | {:.2} | {:.1} + {:.1} + {:.1} s |",
                self.accuracy(&plain),
                self.accuracy(&normed),
                self.accuracy(&graph),
                ranking.as_secs_f64(),
                preparing.as_secs_f64(),
                repairing.as_secs_f64(),
            );
        }
    }
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for model in MODELS {
        if !(named.is_empty() || named.iter().any(|name| name == model)) {
            continue;
        }
        let Some(subject) = Subject::new(model) else {
            continue;
        };
        let device = Runtime::default().device;
        let train = subject.splits.train.as_ref();
        let (graph, analysis) = (&subject.graph, &subject.analysis);
        let batches = draw_batches(train, graph, IMAGES, 1, device).expect("images are read");
        println!(
            "\n{model}: {:.2} % on {} test images\n",
            subject.accuracy(graph),
            subject.splits.test.len()
        );
        println!("| criterion | inner widths | cut, % | batch norm, % | repaired, % | time |");
        println!("|---|---|---|---|---|---|");
        let fisher = |loss| {
            let fisher = GroupFisher {
                task: &Classification,
                batches: &batches,
                loss,
                projections: 4,
                seed: 1,
            };
            fisher.scores(graph, analysis).expect("the network runs")
        };
        let criteria: [(&str, Criterion<'_>); 5] = [
            (
                "magnitude",
                Box::new(|| {
                    let Ok(scores) = Magnitude.scores(graph, analysis);
                    scores
                }),
            ),
            (
                "Taylor",
                Box::new(|| {
                    let taylor = Taylor {
                        task: &Classification,
                        batches: &batches,
                    };
                    taylor.scores(graph, analysis).expect("the network runs")
                }),
            ),
            (
                "Group Fisher, cross-entropy",
                Box::new(|| fisher(MaskedLoss::CrossEntropy)),
            ),
            (
                "Group Fisher, Gauss-Newton",
                Box::new(|| fisher(MaskedLoss::GaussNewton)),
            ),
            (
                "structured OBS",
                Box::new(|| {
                    let obs = StructuredObs::new(&batches, 1);
                    obs.scores(graph, analysis).expect("the network runs")
                }),
            ),
        ];
        for (name, scores) in &criteria {
            subject.report(name, scores, None);
        }
        let obs = StructuredObs::new(&batches, 1);
        let (name, scores) = &criteria[criteria.len() - 1];
        subject.report(&format!("{name}, genetic"), scores, Some(&obs));
    }
}
