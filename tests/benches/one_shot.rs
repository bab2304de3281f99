//! How accurate a cut is before any training step, by importance and by repair.
//!
//! `cargo bench -p graphprune-tests --bench one_shot [-- MODEL...]`: the trained CIFAR networks of
//! the shared folder, whose inner widths are cut to a share (others stay whole), by each criterion:
//! as cut, with the statistics of batch normalisation estimated anew, and repaired by least
//! squares. The last column is the time of importance and repair. Accuracy is that of the test set,
//! which no step reads.

mod trained;

use std::time::Instant;

use channels::{GroupId, Importance, Magnitude, PrunePlan, Scores, apply, cut};
use datasets::Dataset;
use train::{
    Calibration, Classification, GeneticSelection, GroupFisher, MaskedLoss, Prunable, RepairConfig,
    Repairer, Runtime, StructuredObs, Taylor, draw_batches, recalibrate,
};
use trained::Trained;

/// Images for gradients and sums.
const IMAGES: usize = 512;
const MODELS: [&str; 2] = ["cifar10_resnet20", "cifar10_resnet56"];

/// A criterion under test.
type Criterion<'a> = Box<dyn Fn() -> Scores + 'a>;

struct Subject(Trained, Calibration);

impl Subject {
    /// Half, or another share, of every group inside a block; the others at full width.
    fn widths(&self, share: f64) -> Vec<usize> {
        let groups = self.0.analysis.groups().iter().enumerate();
        groups
            .map(|(i, group)| match self.0.analysis.removal(GroupId(i)) {
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
        let train: &dyn Dataset = self.0.splits.train.as_ref();
        let config = RepairConfig::default();
        let clock = Instant::now();
        let by_order = Prunable {
            graph: &self.0.graph,
            analysis: &self.0.analysis,
            order: &order,
        };
        let repairer = Repairer::new(by_order, train, &config, runtime).expect("images are read");
        let preparing = clock.elapsed();
        for share in [0.75, 0.5, 0.25] {
            let widths = self.widths(share);
            let clock = Instant::now();
            let selected = genetic.map(|obs| {
                let network = (&self.0.graph, &self.0.analysis);
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
            let plan = PrunePlan::from_widths(&self.0.analysis, order, &widths);
            let plan = plan.expect("the widths fit");
            let cut = cut(&self.0.graph, &self.0.analysis, &plan).expect("the plan fits");
            let plain = apply(&self.0.graph, &cut).expect("the cut fits");
            let mut normed = plain.clone();
            recalibrate(&mut normed, &cut, &self.1, runtime).expect("the network runs");
            let clock = Instant::now();
            let repaired = repairer.repair_plan(&plan).expect("the plan fits");
            let repairing = clock.elapsed();
            let graph = repaired.graph().expect("the cut fits");
            println!(
                "| {name} | {share} | {:.2} | {:.2} | {:.2} | {:.1} + {:.1} + {:.1} s |",
                self.0.accuracy(&plain),
                self.0.accuracy(&normed),
                self.0.accuracy(&graph),
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
        let Some((trained, calibration)) = Trained::open(model, "cifar10") else {
            continue;
        };
        let subject = Subject(trained, calibration);
        let device = Runtime::default().device;
        let train = subject.0.splits.train.as_ref();
        let (graph, analysis) = (&subject.0.graph, &subject.0.analysis);
        let batches = draw_batches(train, graph, IMAGES, 1, device).expect("images are read");
        println!(
            "\n{model}: {:.2} % on {} test images\n",
            subject.0.accuracy(graph),
            subject.0.splits.test.len()
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
