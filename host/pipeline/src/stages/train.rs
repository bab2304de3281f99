//! Joint training of the Graph PruningNet.

use search::Widths;
use serde::{Deserialize, Serialize};
use train::{Completion, JointConfig, JointSetup, JointState, PruningNet, train_joint};

use crate::environment::CostModel;
use crate::error::PipelineError;
use crate::job::Kind;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::stages::calibrate::Calibration;
use crate::stages::repair::needs_joint_training;
use crate::stages::together;
use crate::start::Feasibility;
use crate::work::Work;

/// A finished joint training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trained {
    pub seconds: f64,
    pub steps: u64,
}

pub(crate) const TRAIN: Key<Trained> = Key::new("train");

pub(crate) const CHECKPOINT: &str = "train/pruning-net.safetensors";

/// Starts or resumes the joint training, and runs it to its end.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &Prepared,
    feasibility: &Feasibility,
    calibration: &[Calibration],
) -> Result<(), PipelineError> {
    if work.records.get(&TRAIN)?.is_some() {
        return Ok(());
    }
    if !needs_joint_training(work.config) {
        work.reporter
            .note("joint training: not needed, candidates are evaluated with repaired weights");
        let (seconds, steps) = (0.0, 0);
        return work.records.finish(&TRAIN, &Trained { seconds, steps });
    }
    let started = std::time::Instant::now();
    work.folder.dir("train")?;
    let checkpoint = work.folder.path(CHECKPOINT);
    let groups = prepared.space.groups.iter();
    let groups = groups.take(prepared.analysis.groups().len());
    let widths: Vec<Vec<usize>> = groups.map(|g| g.widths.clone()).collect();
    let net = &work.config.pruning_net;
    let samples = calibration.iter().map(Calibration::sample);
    let costs = CostModel::new(prepared, feasibility, samples)?;
    // In integers, where precision is open: near the budget most networks are.
    let load = |widths: &[usize]| costs.load(&Widths(prepared.in_integers(widths)));
    let joint = JointConfig {
        draw: work.config.joint.draw.fitted(&widths, load, 1.0),
        ..work.config.joint.clone()
    };
    let seed = work.config.seed;
    let kind = Kind::Joint {
        settings: joint.clone(),
        net: net.clone(),
        groups: prepared
            .analysis
            .groups()
            .iter()
            .map(|group| group.name.clone())
            .collect(),
        order: prepared.order.clone(),
        widths: widths.clone(),
    };
    let team = together::begin(work, prepared, kind, (&[&prepared.graph], seed))?;
    let state = JointState::new(&JointSetup {
        prunable: prepared.prunable(),
        widths: &widths,
        net,
        config: &joint,
        runtime: prepared.runtime,
        seed,
    })?;
    let mut state = state.with_team(team);
    let loader = prepared.training_loader(work.config.batch, seed)?;
    let mut watch = work.watch("joint training");
    let completion = train_joint(&mut state, &loader, Some(&checkpoint), &mut watch)?;
    let steps = watch.finish();
    if completion == Completion::Stopped {
        return Err(PipelineError::Stopped);
    }
    work.records.finish(
        &TRAIN,
        &Trained {
            seconds: started.elapsed().as_secs_f64(),
            steps,
        },
    )
}

/// The trained Graph PruningNet, if something comes out of it.
pub(crate) fn load(
    work: &Work<'_>,
    prepared: &Prepared,
) -> Result<Option<PruningNet>, PipelineError> {
    if !needs_joint_training(work.config) {
        return Ok(None);
    }
    let mut net = PruningNet::new(
        &prepared.graph,
        &prepared.analysis,
        &work.config.pruning_net,
        prepared.runtime.device,
        work.config.seed,
    )?;
    net.load(&work.folder.path(CHECKPOINT))?;
    Ok(Some(net))
}
