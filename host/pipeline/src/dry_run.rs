//! What a run would do: everything that is checked before anything takes long, and the stages that
//! follow. Nothing is written.

mod tunings;

use std::path::Path;
use std::time::{Duration, Instant};

use channels::{PrunePlan, importance_order};
use latency::Model;
use latency_model::{CostTable, ProbePlan};
use measuring::{Effort, Session, SessionConfig};
use onnx_graph::Deployed;
use onnx_graph::quantize::Scheme;
use search::{CostKind, Space};
use serde::Serialize;
use torch_exec::Device;

use crate::board::Board;
use crate::config::{RunConfig, StrategyKind, TaskKind};
use crate::error::PipelineError;
use crate::folder::RunFolder;
use crate::for_board::{for_board, stand_in};
use crate::inputs::{Inputs, searched_space};
use crate::prepare::{deployed, runtime};
use crate::progress::Reporter;
use crate::stages::compared;
use crate::stages::repair::needs_joint_training;
use crate::start::{Smallest, memory_within_reach, within_reach};
use tunings::Tunings;

/// Keep ratio of the network whose training is timed.
const TYPICAL_KEEP: f64 = 0.6;

/// Worker processes of a figure to rely on, such as that of the result: the fewest at the usual
/// effort.
const PROCESSES: u64 = 8;

/// A check that was passed, or a stage that would run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanLine {
    /// What was checked, or the stage.
    pub name: String,
    /// What was found, or what the stage does.
    pub text: String,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunPlan {
    /// What was checked.
    pub checked: Vec<PlanLine>,
    /// The stages in their order.
    pub stages: Vec<PlanLine>,
    /// Images that pass through the trainings of the run, forwards and backwards, if each network
    /// is trained once; unknown for a network that libtorch runs in part.
    pub training_images: Option<u64>,
    /// About how long the trainings take, by timing a few steps, seconds; likewise.
    pub training_seconds: Option<f64>,
    /// These images if each network takes the most trainings: one without labels is trained again
    /// where that took it farther from the original.
    pub most_training_images: Option<u64>,
    /// About how long these take, seconds.
    pub most_training_seconds: Option<f64>,
    /// The most worker processes that the run measures in: a candidate is measured in one.
    pub measurements: u64,
    /// About how long these take, by timing one, seconds. Candidates that the latency model
    /// predicts well are not measured, so that a run may take much less.
    pub measuring_seconds: f64,
}

/// Checks a run in `out` without starting it: the device of the training, the devices, the
/// network, the data, the budget, the folder and its disk. The smallest network is measured, and a
/// few steps of training are timed.
///
/// # Errors
/// Those with which the run would end before its first long stage.
pub fn dry_run(
    config: RunConfig,
    out: &Path,
    reporter: &mut dyn Reporter,
) -> Result<RunPlan, PipelineError> {
    let config = config.settled()?;
    config.check()?;
    RunFolder::check(out)?;
    let runtime = runtime(&config)?;
    let devices = config.device.resolve()?;
    let network = Inputs::network(&config, out)?;
    let settings = SessionConfig {
        attempts: config.search.measure_attempts,
        final_effort: config.result.final_effort,
        fleet: config.fleet.clone(),
    };
    let mut session = Session::start(devices, None, settings)?;
    let mut inputs = Inputs::open(&config, out, network, reporter)?;
    compared::plans(&config, &inputs.model)?;
    let board = Board::of(session.profile(), &session.info(), &config.budget)?;
    if let Some(board) = &board {
        inputs.model = for_board(inputs.model, board, &inputs.splits, &config, reporter)?;
    }
    let space = searched_space(&inputs.model.graph, &inputs.model.analysis, &config)?;
    let planned = Planned {
        table: CostTable::new(&inputs.model.graph, &inputs.model.analysis),
        config: &config,
        inputs: &inputs,
        space: &space,
        board: board.as_ref(),
    };
    let (budget, one) = planned.budget(&mut session)?;
    let measurements = planned.measurements();
    let line = |name: &str, text: String| PlanLine {
        name: name.to_owned(),
        text,
    };
    let checked = vec![
        line("folder", format!("{} can hold a run", out.display())),
        line("network", inputs.describe()),
        line("data", planned.data()),
        line("device", session.describe()),
        line("budget", budget),
        line("training", format!("on {}", config.train_on)),
    ];
    let trained = (!planned.is_partial()).then(|| planned.training_images());
    let rate = match trained {
        Some(_) => planned.images_per_second(runtime.device)?,
        None => 0.0,
    };
    let seconds = |images: u64| images as f64 / rate.max(f64::MIN_POSITIVE);
    Ok(RunPlan {
        checked,
        stages: planned.stages(),
        training_images: trained.map(|(once, _)| once),
        training_seconds: trained.map(|(once, _)| seconds(once)),
        most_training_images: trained.map(|(_, most)| most),
        most_training_seconds: trained.map(|(_, most)| seconds(most)),
        measurements,
        measuring_seconds: measurements as f64 * one.as_secs_f64(),
    })
}

/// A run that is described.
struct Planned<'a> {
    config: &'a RunConfig,
    inputs: &'a Inputs,
    space: &'a Space,
    board: Option<&'a Board>,
    table: CostTable,
}

impl Planned<'_> {
    fn data(&self) -> String {
        let given = self.config.data.as_ref().map(ToString::to_string);
        if self.inputs.kind != TaskKind::Classification {
            let task = self.inputs.kind.name();
            return format!("{}: fits the task '{task}'", given.unwrap_or_default());
        }
        let classes = self.inputs.splits.train.classes();
        let shown: Vec<&str> = classes.iter().take(3).map(String::as_str).collect();
        let more = if classes.len() > 3 { ", ..." } else { "" };
        format!(
            "{}: {} classes ({}{more}), as many as the network has",
            given.unwrap_or_default(),
            classes.len(),
            shown.join(", ")
        )
    }

    /// Measures the smallest network, and checks that it meets the budget. Also returns how long
    /// one measurement takes.
    fn budget(&self, session: &mut Session) -> Result<(String, Duration), PipelineError> {
        let smallest = self.space.smallest();
        let full_macs = self.table.macs(&self.space.full().0).round() as u64;
        let macs = self.table.macs(&smallest.0);
        let name = &self.inputs.model.name;
        let stand_in = match self.board {
            Some(board) => {
                let original = (board, &self.inputs.model.graph);
                let deployed = |widths: &[usize]| Ok(self.deployed(widths)?.graph);
                stand_in(original, name, self.space, deployed)?
            }
            None => None,
        };
        let (reference, of) = match &stand_in {
            Some(of) => (of.widths.clone(), of.words()),
            None => (self.space.full().0, "the original".to_owned()),
        };
        let deployed = self.deployed(&smallest.0)?;
        memory_within_reach(self.config, self.board, (&deployed.graph, name))?;
        session.set_reference(Model::new("reference", self.deployed(&reference)?.bytes));
        let model = Model::new("smallest", deployed.bytes);
        let begun = Instant::now();
        let measured = session.ratio(model, Effort::Search)?;
        let one = begun.elapsed();
        let of_smallest = Smallest {
            macs,
            full_macs,
            measured: &measured,
            stand_in: stand_in.as_ref(),
        };
        within_reach(self.config, &of_smallest)?;
        let met = of_smallest.met_by_the_original(&self.config.budget);
        let mut words = format!(
            "{}; {of} takes {:.3} ms, and the smallest network takes {:.3}x of that and {:.3}x of the original's MACs",
            self.config.budget.words(),
            measured.reference_ns / 1e6,
            measured.ratio.value,
            macs / full_macs as f64
        );
        words.extend(met.map(|met| format!("; {met}")));
        Ok((words, one))
    }

    /// The network with so many units of each group as it is deployed.
    fn deployed(&self, widths: &[usize]) -> Result<Deployed, PipelineError> {
        let model = &self.inputs.model;
        let cut = self.cut(widths)?;
        let batch = model.batch.filter(|_| !self.config.result.dynamic_batch);
        let scheme = Scheme::of(&model.graph);
        let deployed = deployed(&cut, scheme.as_ref(), batch);
        deployed.map_err(|source| PipelineError::Model {
            model: model.name.clone(),
            source,
        })
    }

    fn cut(&self, widths: &[usize]) -> Result<onnx_graph::Graph, PipelineError> {
        let model = &self.inputs.model;
        let order = importance_order(&model.graph, &model.analysis);
        let plan = PrunePlan::from_widths(&model.analysis, &order, widths)?;
        Ok(channels::prune(&model.graph, &model.analysis, &plan)?)
    }

    fn images_per_second(&self, device: Device) -> Result<f64, PipelineError> {
        let batch = self.config.batch.min(self.inputs.splits.train.len()).max(1);
        let typical = self.cut(&self.space.uniform(TYPICAL_KEEP).0)?;
        let times = train::step_times(&typical, self.inputs.model.input, batch, device)?;
        let fastest = times.first().map_or(0.0, |time| time.step.as_secs_f64());
        Ok(batch as f64 / fastest.max(1e-9))
    }

    /// Whether libtorch runs a part of the network only.
    fn is_partial(&self) -> bool {
        torch_exec::first_stop(&self.inputs.model.graph).is_some()
    }

    /// Whether the search measures latencies.
    fn has_latency(&self) -> bool {
        self.config.budget.cost() != Some(CostKind::Macs)
    }

    /// Kernels that are measured alone.
    fn kernels(&self) -> usize {
        if !self.has_latency() || !self.config.knowledge.kernels {
            return 0;
        }
        let groups = self.space.groups.iter();
        let widths: Vec<Vec<usize>> = groups.map(|g| g.widths.clone()).collect();
        ProbePlan::new(&self.table, &widths).points().len()
    }

    /// The most worker processes that measure.
    fn measurements(&self) -> u64 {
        let config = self.config;
        let baselines = self.baselines();
        let networks = baselines.len() as u64 + 2;
        let at_the_end = networks * PROCESSES;
        if !self.has_latency() {
            return at_the_end;
        }
        let kernels = self.kernels().div_ceil(config.knowledge.probe.batch.max(1)) as u64;
        let searched = baselines
            .iter()
            .map(|kind| kind.baseline_episodes(config.episodes()));
        let searched = config.episodes() + searched.sum::<u64>();
        let confirmed = match config.result.confirm_before_finetuning {
            true => self.halved().max(config.result.candidates) as u64 * PROCESSES,
            false => 0,
        };
        kernels + config.search.calibration + searched + confirmed + at_the_end
    }

    fn baselines(&self) -> Vec<StrategyKind> {
        let main = self.config.strategy();
        let all = self.config.result.baselines.iter().copied();
        all.filter(|&kind| kind != main).collect()
    }

    /// Networks of the final table besides the original.
    fn tuned(&self) -> usize {
        let result = &self.config.result;
        result.candidates + self.baselines().len() + result.plans.len()
    }

    /// Candidates of the short fine-tuning.
    fn halved(&self) -> usize {
        let result = &self.config.result;
        let is_halved =
            self.config.strategy().uses_halving() && result.halving.candidates > result.candidates;
        if is_halved {
            result.halving.candidates
        } else {
            0
        }
    }

    /// Images that pass through the trainings: if each network is fine-tuned once, and at most.
    fn training_images(&self) -> (u64, u64) {
        let config = self.config;
        let joint = if needs_joint_training(config) {
            config.joint.epochs
        } else {
            0
        };
        let original = if self.inputs.model.trained {
            0
        } else {
            config.original.epochs
        };
        let before = original + joint;
        let tunings = self.tunings();
        let images = |epochs: usize| (epochs * self.inputs.splits.train.len()) as u64;
        let once = images(before + tunings.epochs());
        (once, images(before + tunings.most_epochs()))
    }

    fn tunings(&self) -> Tunings<'_> {
        Tunings {
            config: self.config,
            kind: self.inputs.kind,
            halved: self.halved(),
            tuned: self.tuned(),
        }
    }

    fn stages(&self) -> Vec<PlanLine> {
        let config = self.config;
        let mut stages = Vec::new();
        let mut add = |name: &str, text: String| {
            stages.push(PlanLine {
                name: name.to_owned(),
                text,
            });
        };
        if !self.inputs.model.trained {
            let epochs = config.original.epochs;
            add("training of the original", format!("{epochs} epochs"));
        }
        let images = config.importance.images.min(self.inputs.splits.train.len());
        add(
            "importance",
            format!(
                "{} on {images} training images",
                config.importance.criterion.name()
            ),
        );
        let kernels = self.kernels();
        if kernels > 0 {
            add("kernels", format!("{kernels} measured alone"));
        }
        if self.has_latency() && config.search.calibration > 0 {
            let most = config.search.calibration;
            add(
                "latency model",
                format!("at most {most} whole networks measured"),
            );
        }
        if needs_joint_training(config) {
            let epochs = config.joint.epochs;
            add(
                "joint training",
                format!("{epochs} epochs of the Graph PruningNet"),
            );
        }
        let main = config.strategy();
        let tried =
            |kind: StrategyKind, episodes| format!("{}, {episodes} configurations", kind.name());
        add("search", tried(main, config.episodes()));
        for kind in self.baselines() {
            add(
                "baseline",
                tried(kind, kind.baseline_episodes(config.episodes())),
            );
        }
        let tunings = self.tunings();
        if self.halved() > 0 && !self.is_partial() {
            add("short fine-tuning", tunings.short_in_words());
        }
        match config.result.plans.len() {
            0 => {}
            1 => add("compared", "the network of 1 plan".into()),
            count => add("compared", format!("the networks of {count} plans")),
        }
        add(
            "fine-tuning",
            match self.is_partial() && !tunings.is_the_users() {
                true => "of the part that libtorch runs, where that is all that is compared".into(),
                false => tunings.in_words(),
            },
        );
        let test = self.inputs.splits.test.len();
        add(
            "result",
            format!(
                "exported, compared, measured over several processes, tested once on {test} images"
            ),
        );
        stages
    }
}
