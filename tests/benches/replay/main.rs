//! The search strategies on a recorded search: no training, no measuring, so that many seeds take
//! minutes.
//!
//! `cargo bench -p graphprune-tests --bench replay [-- --seeds 20 --episodes 60,120,240]`.
//! Accuracy and latency of any configuration come from regressions over the recorded ones; the
//! first lines say how well these predict rows that are left out. Every strategy predicts costs
//! by the same regression. The table shows, over the seeds, the accuracy of the best candidate
//! within the budget, that of the last quarter of the candidates, and how much of the budget the
//! best candidate uses. CMA-ES, from a crate of its own, is an outside judge.
//!
//! `-- --record RUN` writes the table of a run's search instead.

mod table;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use cmaes::{CMAESOptions, DVector};
use search::{
    Cost, Ddpg, DdpgConfig, Environment, Evolution, EvolutionConfig, Judge, Knapsack,
    KnapsackConfig, LatencyInterval, Limits, Outcome, Random, RandomConfig, RewardConfig,
    SearchError, Space, Strategy, Widths,
};
use table::{Features, Linear, Table, cross_validated};
use train::{PruningNet, PruningNetConfig, Runtime};

const BUDGET: f64 = 0.7;
const RIDGE: f64 = 1e-2;

/// The recorded network.
struct Replay {
    space: Space,
    losses: Vec<Vec<f64>>,
    features: Features,
    accuracy: Linear,
    ratio: Linear,
    net: PruningNet,
}

impl Replay {
    fn new(table: &Table) -> Self {
        let space = table.space();
        let features = Features::new(space.clone());
        let rows: Vec<Vec<f64>> = (table.rows.iter())
            .map(|row| features.of(&Widths(row.widths.clone())))
            .collect();
        let logits: Vec<f64> = table.rows.iter().map(|row| logit(row.accuracy)).collect();
        let ratios: Vec<f64> = table.rows.iter().map(|row| row.ratio).collect();
        println!(
            "{} configurations; explained of rows left out: {:.3} of the logit of accuracy, {:.4} of latency\n",
            rows.len(),
            cross_validated(&rows, &logits, RIDGE),
            cross_validated(&rows, &ratios, RIDGE)
        );
        let config = model_zoo::ZooConfig::default();
        let graph = model_zoo::build("resnet20", &config).expect("the zoo has it");
        let analysis = channels::analyse(&graph).expect("it can be analysed");
        let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
        assert_eq!(full, space.full().0, "the recorded network is a ResNet-20");
        let device = Runtime::default().device;
        let net = PruningNet::new(&graph, &analysis, &PruningNetConfig::default(), device, 1);
        Self {
            losses: table.losses.clone(),
            accuracy: Linear::fit(&rows, &logits, RIDGE),
            ratio: Linear::fit(&rows, &ratios, RIDGE),
            net: net.expect("it has weights"),
            features,
            space,
        }
    }

    fn accuracy(&self, widths: &Widths) -> f64 {
        let logit = self.accuracy.of(&self.features.of(widths));
        1.0 / (1.0 + (-logit).exp())
    }

    fn ratio(&self, widths: &Widths) -> f64 {
        self.ratio.of(&self.features.of(widths)).max(0.01)
    }
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(1e-3, 1.0 - 1e-3);
    (share / (1.0 - share)).ln()
}

/// The recorded network as a strategy sees it.
struct View<'a> {
    replay: &'a Replay,
    /// Whether states are embeddings of the graph network, or constant.
    embeds: bool,
    /// Whether losses of importance are known.
    seeds: bool,
}

impl Environment for View<'_> {
    fn space(&self) -> &Space {
        &self.replay.space
    }

    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        if !self.embeds {
            return Ok(vec![vec![0.0]; partial.0.len()]);
        }
        let embeddings = self.replay.net.group_embeddings(&partial.0);
        embeddings.map_err(|e| SearchError::Outside(Box::new(e)))
    }

    fn cost(&self, widths: &Widths) -> f64 {
        self.replay.ratio(widths) / BUDGET
    }

    fn budget(&self) -> f64 {
        1.0
    }

    fn losses(&self) -> Option<&[Vec<f64>]> {
        self.seeds.then_some(&self.replay.losses)
    }
}

/// Accuracy and load of each candidate, in their order.
type Trace = Vec<(f64, f64)>;

fn judged(replay: &Replay, judge: &Judge, widths: &Widths) -> Outcome {
    let ratio = replay.ratio(widths);
    let latency = LatencyInterval {
        ratio,
        low: ratio,
        high: ratio,
    };
    let cost = Cost {
        memory: 0.0,
        macs: 1,
        latency: Some(latency),
    };
    let outcome = judge.judge(replay.accuracy(widths), cost);
    outcome.expect("finite figures")
}

fn judge() -> Judge {
    let limits = Limits {
        latency_ratio: Some(BUDGET),
        macs: None,
    };
    Judge::new(RewardConfig::default(), limits).expect("sound settings")
}

fn run(mut view: View<'_>, strategy: &mut dyn Strategy, episodes: usize) -> Trace {
    let judge = judge();
    let mut trace = Trace::new();
    for _ in 0..episodes {
        match strategy.ask(&mut view) {
            Ok(widths) => {
                let outcome = judged(view.replay, &judge, &widths);
                strategy.tell(&widths, &outcome).expect("it was asked");
                trace.push((outcome.accuracy, outcome.load));
            }
            Err(SearchError::Exhausted { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    trace
}

/// Covariance matrix adaptation over positions in the groups' widths. A draw beyond the budget is
/// moved towards the smallest network until it meets the budget, as the house's strategies do.
fn cma_es(replay: &Replay, seed: u64, episodes: usize) -> Trace {
    let (judge, trace) = (judge(), RefCell::new(Trace::new()));
    let groups = &replay.space.groups;
    let at = |x: &DVector<f64>, scale: f64| {
        let width = |(group, x): (&search::GroupSpace, &f64)| {
            let last = group.widths.len() - 1;
            group.widths[((x.clamp(0.0, 1.0) * scale * last as f64).round() as usize).min(last)]
        };
        Widths(groups.iter().zip(x.iter()).map(width).collect())
    };
    let objective = |x: &DVector<f64>| {
        let scales = (0..=40).map(|step| 1.0 - f64::from(step) / 40.0);
        let mut fitting = scales.map(|scale| at(x, scale));
        let widths = fitting.find(|widths| replay.ratio(widths) <= BUDGET);
        let widths = widths.unwrap_or_else(|| replay.space.smallest());
        let outcome = judged(replay, &judge, &widths);
        trace.borrow_mut().push((outcome.accuracy, outcome.load));
        1.0 - outcome.reward
    };
    let mut cma = CMAESOptions::new(vec![0.7; groups.len()], 0.3)
        .seed(seed)
        .max_function_evals(episodes)
        .build(objective)
        .expect("sound settings");
    while trace.borrow().len() < episodes && cma.next().is_none() {}
    drop(cma);
    let mut trace = trace.into_inner();
    trace.truncate(episodes);
    trace
}

type Contestant = (&'static str, fn(&Replay, u64, usize) -> Trace);

fn ddpg(replay: &Replay, config: DdpgConfig, embeds: bool, seeds: bool, episodes: usize) -> Trace {
    let view = View {
        replay,
        embeds,
        seeds,
    };
    run(
        view,
        &mut Ddpg::new(config).expect("sound settings"),
        episodes,
    )
}

fn evolution(replay: &Replay, seed: u64, seeds: bool, episodes: usize) -> Trace {
    let config = EvolutionConfig {
        seed,
        ..EvolutionConfig::for_episodes(episodes)
    };
    let mut strategy = Evolution::new(config).expect("sound settings");
    run(plain(replay, seeds), &mut strategy, episodes)
}

fn plain(replay: &Replay, seeds: bool) -> View<'_> {
    View {
        replay,
        embeds: false,
        seeds,
    }
}

fn settings(seed: u64, episodes: usize) -> DdpgConfig {
    DdpgConfig {
        seed,
        ..DdpgConfig::for_episodes(episodes)
    }
}

const CONTESTANTS: [Contestant; 9] = [
    ("random", |replay, seed, episodes| {
        let config = RandomConfig {
            seed,
            ..RandomConfig::default()
        };
        let mut strategy = Random::new(config).expect("sound settings");
        run(plain(replay, false), &mut strategy, episodes)
    }),
    ("CMA-ES", cma_es),
    ("evolution", |replay, seed, episodes| {
        evolution(replay, seed, false, episodes)
    }),
    ("DDPG", |replay, seed, episodes| {
        ddpg(replay, settings(seed, episodes), true, false, episodes)
    }),
    ("DDPG, constant states", |replay, seed, episodes| {
        ddpg(replay, settings(seed, episodes), false, false, episodes)
    }),
    ("DDPG as in AMC", |replay, seed, episodes| {
        let config = DdpgConfig {
            noise_floor: 0.0,
            imitation: 0.0,
            return_share: 0.0,
            explore: 1.0,
            project: false,
            ..settings(seed, episodes)
        };
        ddpg(replay, config, true, false, episodes)
    }),
    ("knapsack", |replay, seed, episodes| {
        let config = KnapsackConfig {
            seed,
            ..KnapsackConfig::default()
        };
        let mut strategy = Knapsack::new(config).expect("sound settings");
        run(plain(replay, true), &mut strategy, episodes)
    }),
    ("evolution, seeded", |replay, seed, episodes| {
        evolution(replay, seed, true, episodes)
    }),
    ("DDPG, seeded", |replay, seed, episodes| {
        ddpg(replay, settings(seed, episodes), true, true, episodes)
    }),
];

/// Mean and standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (
        mean,
        (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt(),
    )
}

fn contest(replay: &Replay, seeds: u64, episodes: usize) {
    println!("{episodes} candidates, {seeds} seeds:\n");
    println!("| strategy | best, % | last quarter, % | best uses of the budget |");
    println!("|---|---|---|---|");
    for (name, contestant) in CONTESTANTS {
        let (mut best, mut last, mut loads) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 1..=seeds {
            let trace = contestant(replay, seed, episodes);
            let feasible = trace.iter().filter(|(_, load)| *load <= 1.0);
            let Some(&(accuracy, load)) = feasible.max_by(|a, b| a.0.total_cmp(&b.0)) else {
                continue;
            };
            best.push(accuracy * 100.0);
            loads.push(load);
            let tail = &trace[trace.len() * 3 / 4..];
            let tail: Vec<f64> = tail.iter().map(|(accuracy, _)| accuracy * 100.0).collect();
            last.push(spread(&tail).0);
        }
        let ((best, deviation), last, load) = (spread(&best), spread(&last).0, spread(&loads).0);
        println!("| {name} | {best:.2} ± {deviation:.2} | {last:.2} | {load:.3} |");
    }
    println!();
}

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay_resnet20.json");
    let mut arguments = std::env::args().skip(1);
    let (mut seeds, mut episodes) = (5, vec![60, 120, 240]);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().expect("the option takes a value");
        match argument.as_str() {
            "--seeds" => seeds = value().parse().expect("--seeds takes a number"),
            "--episodes" => {
                let numbers = value();
                let numbers = numbers.split(',').map(|n| n.parse().expect("a number"));
                episodes = numbers.collect();
            }
            "--record" => {
                let table = Table::of_run(&PathBuf::from(value()), value());
                let text = serde_json::to_string(&table).expect("a table");
                std::fs::write(&path, text).expect("the table is written");
                return;
            }
            _ => {}
        }
    }
    let replay = Replay::new(&Table::read(&path));
    for episodes in episodes {
        contest(&replay, seeds, episodes);
    }
}
