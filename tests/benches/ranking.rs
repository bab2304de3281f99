//! How evaluators rank candidates: Kendall's tau-b between a score before the fine-tuning and the
//! test accuracy after it.
//!
//! `cargo bench -p graphprune-tests --bench ranking -- [MODEL...] [--networks 16] [--epochs 10]
//! [--joint 20]`: for each trained network of the shared folder, networks of random widths, the
//! same for all evaluators, each fine-tuned from repaired weights. Scores on the search split:
//! accuracy, and divergence from the original, with weights that a Graph PruningNet generates (with
//! full and with factored generators), with shared ones of a stage-wise training, and with repaired
//! ones; multiply-accumulates for comparison.
//! Results are kept in `target/tmp/ranking`, so that a killed run goes on.

mod trained;

use std::fs;
use std::path::{Path, PathBuf};

use channels::{Importance as _, PrunePlan};
use datasets::{DataSpec, Loader, LoaderConfig};
use graphprune_tests::{Agreement, kendall};
use onnx_graph::cost::costs;
use search::WidthGrid;
use serde::{Deserialize, Serialize};
use train::{
    Classification, DrawConfig, Evaluator, EvaluatorConfig, FinetuneConfig, JointConfig,
    JointSetup, JointState, NetWeights, Prunable, PruningNetConfig, RepairConfig, Repairer,
    Runtime, Score, Silent, StructuredObs, TeacherSetup, TrainJob, draw_batches, features,
    finetune, train_joint,
};
use trained::Trained;

const MODELS: [(&str, &str); 3] = [
    ("cifar10_resnet20", "cifar10"),
    ("mlperf_tiny_cifar10_resnet8", "none255"),
    ("cifar10_resnet56", "cifar10"),
];

const SEED: u64 = 1;

/// Mean multiply-accumulates of the drawn networks, as a share of the original's.
const MEAN_MACS: f64 = 0.5;

struct Options {
    models: Vec<String>,
    networks: usize,
    epochs: usize,
    joint: usize,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            models: Vec::new(),
            networks: 16,
            epochs: 10,
            joint: 20,
        };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().and_then(|word| word.parse().ok());
                value.unwrap_or_else(|| panic!("{word} takes a number"))
            };
            match word.as_str() {
                "--networks" => options.networks = number(),
                "--epochs" => options.epochs = number(),
                "--joint" => options.joint = number(),
                name if MODELS.iter().any(|(model, _)| *model == name) => {
                    options.models.push(word);
                }
                _ => panic!("{word} is neither an option nor one of {MODELS:?}"),
            }
        }
        options
    }
}

/// One network, and the test accuracy in the end.
#[derive(Serialize, Deserialize)]
struct Row {
    widths: Vec<usize>,
    accuracy: f64,
}

/// Scores by evaluator; higher is better.
type Scores = Vec<(String, f64)>;

struct Contest<'a> {
    subject: &'a Trained,
    order: &'a [Vec<usize>],
    evaluator: Evaluator,
    repairer: Repairer,
    /// Joint trainings, by the source of their weights.
    joint: Vec<(&'static str, JointState)>,
    loader: Loader,
    options: &'a Options,
}

impl<'a> Contest<'a> {
    fn new(subject: &'a Trained, order: &'a [Vec<usize>], options: &'a Options) -> Self {
        let runtime = Runtime::default();
        let prunable = Prunable {
            graph: &subject.graph,
            analysis: &subject.analysis,
            order,
        };
        let (train, search) = (&*subject.splits.train, &*subject.splits.search);
        let config = EvaluatorConfig::default();
        let evaluator = Evaluator::new(prunable, (train, search), &config, runtime);
        let mut evaluator = evaluator.expect("images are read");
        evaluator.anchor().expect("the network runs");
        evaluator
            .remember_original(runtime)
            .expect("the network runs");
        let repairer = Repairer::new(prunable, train, &RepairConfig::default(), runtime);
        let of_cifar: DataSpec = "cifar10:.".parse().expect("a good specification");
        let loader = LoaderConfig {
            seed: SEED,
            augment: of_cifar.default_augment(),
            drop_last: true,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(subject.splits.train.clone(), loader).expect("the data fits");
        let full = PruningNetConfig::default();
        let factored = PruningNetConfig {
            factor_above: 0,
            ..full.clone()
        };
        let shared = PruningNetConfig {
            weights: NetWeights::Shared,
            ..full.clone()
        };
        let state = |net: &PruningNetConfig, stagewise: bool| {
            let grid = WidthGrid::default();
            let groups = subject.analysis.groups().iter();
            let widths = groups.map(|group| grid.group(&group.name, group.channels).widths);
            let widths: Vec<Vec<usize>> = widths.collect();
            let draw = DrawConfig::default();
            let whole = costs(&subject.graph).macs as f64;
            let config = JointConfig {
                epochs: options.joint,
                stagewise,
                sandwich: stagewise,
                draw: draw.fitted(&widths, |widths| macs(prunable, widths) / whole, MEAN_MACS),
                ..JointConfig::default()
            };
            let setup = JointSetup {
                prunable,
                widths: &widths,
                net,
                config: &config,
                runtime,
                seed: SEED,
            };
            JointState::new(&setup).expect("the network has layers")
        };
        Self {
            subject,
            order,
            evaluator,
            repairer: repairer.expect("images are read"),
            joint: vec![
                ("generated (full)", state(&full, false)),
                ("generated (factored)", state(&factored, false)),
                ("shared (stage-wise)", state(&shared, true)),
            ],
            loader,
            options,
        }
    }

    fn prunable(&self) -> Prunable<'_> {
        Prunable {
            graph: &self.subject.graph,
            analysis: &self.subject.analysis,
            order: self.order,
        }
    }

    /// Trains the generators, or goes on with them.
    fn train(&mut self, folder: &Path) {
        for (name, state) in &mut self.joint {
            let checkpoint = folder.join(format!("joint-{name}-{}", self.options.joint));
            train_joint(state, &self.loader, Some(&checkpoint), &mut Silent)
                .expect("the joint training ends");
        }
    }

    /// Widths of the networks, drawn as the joint training draws, beyond its own draws.
    fn widths(&self) -> Vec<Vec<usize>> {
        let (_, state) = &self.joint[0];
        let draws = (0..self.options.networks as u64).map(|n| state.draws(u64::MAX / 2 + n));
        draws.flatten().collect()
    }

    /// What the evaluators say of a network.
    fn scores(&self, widths: &[usize]) -> Scores {
        let mut scores = vec![(
            "multiply-accumulates".to_owned(),
            macs(self.prunable(), widths),
        )];
        let mut add = |name: &str, score: Score| {
            scores.push((format!("{name}, accuracy"), score.share()));
            let divergence = score.divergence.expect("the original is known");
            scores.push((format!("{name}, divergence"), -divergence));
        };
        for (name, state) in &self.joint {
            let score = self.evaluator.accuracy(state.net(), widths);
            add(name, score.expect("the network runs"));
        }
        let repaired = self.repairer.repair(widths).expect("the widths fit");
        let score = self.evaluator.accuracy_of(&repaired);
        add("repaired", score.expect("the network runs"));
        scores
    }

    /// Fine-tunes a network.
    fn row(&self, widths: Vec<usize>) -> Row {
        let runtime = Runtime::default();
        let repaired = self.repairer.repair(&widths).expect("the widths fit");
        let plan = PrunePlan::from_widths(&self.subject.analysis, self.order, &widths);
        let plan = plan.expect("the widths fit");
        let followed = features(&self.subject.graph, &self.subject.analysis, &plan);
        let followed = followed.expect("the plan fits");
        let config = FinetuneConfig {
            epochs: self.options.epochs,
            ..FinetuneConfig::default()
        };
        let graph = repaired.graph().expect("the cut fits");
        let job = TrainJob {
            graph: &graph,
            floats: None,
            task: &Classification,
            loader: &self.loader,
            config: &config,
            runtime,
            seed: SEED,
            team: None,
            checkpoint: None,
            identity: None,
        };
        let teacher = TeacherSetup {
            graph: &self.subject.graph,
            features: &followed,
        };
        let (tuned, _) = finetune(&job, Some(teacher), &mut Silent).expect("the training ends");
        Row {
            widths,
            accuracy: self.subject.accuracy(&tuned),
        }
    }
}

fn macs(prunable: Prunable<'_>, widths: &[usize]) -> f64 {
    let cut = prunable.cut(widths).expect("the widths fit");
    let graph = channels::apply(prunable.graph, &cut).expect("the cut fits");
    costs(&graph).macs as f64
}

/// The finished rows of a folder.
fn read(file: &Path) -> Vec<Row> {
    match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("rows of an earlier run"),
        Err(_) => Vec::new(),
    }
}

fn print(rows: &[Row], scores: &[Scores]) {
    println!("\n| evaluator | Kendall's tau-b with the order after fine-tuning (95 % interval) |");
    println!("|---|---|");
    let ends: Vec<f64> = rows.iter().map(|row| row.accuracy).collect();
    for (index, (name, _)) in scores[0].iter().enumerate() {
        let scores: Vec<f64> = scores.iter().map(|of| of[index].1).collect();
        let Agreement { tau, low, high } = kendall(&scores, &ends, SEED);
        println!("| {name} | {tau:.2} ({low:.2} to {high:.2}) |");
    }
}

fn main() {
    let options = Options::parse();
    for (model, preset) in MODELS {
        let is_named = options.models.iter().any(|name| name == model);
        if !(options.models.is_empty() || is_named) {
            continue;
        }
        let Some((subject, _)) = Trained::open(model, preset) else {
            continue;
        };
        let (networks, epochs) = (options.networks, options.epochs);
        println!(
            "\n{model}: {:.2} % on {} test images; {networks} networks, {epochs} epochs\n",
            subject.accuracy(&subject.graph),
            subject.splits.test.len()
        );
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("ranking/{model}-{epochs}-{}", options.joint));
        fs::create_dir_all(&folder).expect("a folder for the results");
        let device = Runtime::default().device;
        let batches = draw_batches(&*subject.splits.train, &subject.graph, 512, 1, device);
        let batches = batches.expect("images are read");
        let obs = StructuredObs::new(&batches, 1);
        let scores = obs.scores(&subject.graph, &subject.analysis);
        let order = scores.expect("the network runs").order();
        let mut contest = Contest::new(&subject, &order, &options);
        contest.train(&folder);
        let file = folder.join("rows.json");
        let mut rows = read(&file);
        for widths in contest.widths().into_iter().skip(rows.len()) {
            let row = contest.row(widths);
            println!("{:.2} %: {:?}", row.accuracy, row.widths);
            rows.push(row);
            let bytes = serde_json::to_vec_pretty(&rows).expect("rows are plain data");
            fs::write(&file, bytes).expect("the results can be written");
        }
        let scores: Vec<Scores> = rows.iter().map(|row| contest.scores(&row.widths)).collect();
        print(&rows, &scores);
    }
}
