//! Networks that another tool cut, beside those of the run: their plans are read when the run
//! begins.

use std::path::Path;

use channels::PrunePlan;
use onnx_graph::Graph;

use crate::config::{ConfigError, RunConfig};
use crate::error::PipelineError;
use crate::model::LoadedModel;
use crate::plan::CutPlan;
use crate::records::{Key, Records};
use crate::stages::finetune::{self, Network, Purpose, Source, Tuned};
use crate::work::Work;

/// The plans of a run by the names of their files, for the groups of `model`.
pub(crate) fn plans(
    config: &RunConfig,
    model: &LoadedModel,
) -> Result<Vec<(String, PrunePlan)>, PipelineError> {
    let plans = config.result.plans.iter().map(|path| {
        let units = CutPlan::read(path)?.units(&model.graph, &model.analysis);
        let units = units.map_err(|reason| PipelineError::BadPlan {
            path: path.clone(),
            reason,
        })?;
        Ok((label(path), units))
    });
    let plans: Vec<(String, PrunePlan)> = plans.collect::<Result<_, PipelineError>>()?;
    for (index, (label, _)) in plans.iter().enumerate() {
        if plans[..index].iter().any(|(other, _)| other == label) {
            let reason =
                format!("two files are called '{label}', and a network has the name of its file");
            return Err(ConfigError::value("result.plans", reason).into());
        }
    }
    Ok(plans)
}

fn label(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str());
    stem.to_string_lossy().into_owned()
}

const PLANS: Key<Vec<(String, PrunePlan)>> = Key::new("plans");

/// Reads the plans of a new run, and keeps them: a run is resumed without the files.
pub(crate) fn settle(
    config: &RunConfig,
    records: &mut Records,
    model: &LoadedModel,
) -> Result<(), PipelineError> {
    if config.result.plans.is_empty() || records.get(&PLANS)?.is_some() {
        return Ok(());
    }
    records.finish(&PLANS, &plans(config, model)?)
}

/// Fine-tunes the network of each plan.
pub(crate) fn run(
    work: &mut Work<'_>,
    source: &Source<'_>,
) -> Result<Vec<(Tuned, Graph)>, PipelineError> {
    let mut tuned = Vec::new();
    for (label, units) in work.records.get(&PLANS)?.unwrap_or_default() {
        let failed = Purpose::Result.key_of_failure(&label);
        if work.records.get(&failed)?.is_some() {
            continue;
        }
        let mut config = source.prepared.space.full().0;
        let widths = units.widths();
        config[..widths.len()].copy_from_slice(&widths);
        let network = Network {
            label: &label,
            config: &config,
            units: Some(&units),
            begun: None,
        };
        match finetune::run(work, source, Purpose::Result, network) {
            // The user's command failed for this network: the others are of use without it.
            Err(error @ PipelineError::Command { .. }) => {
                work.records.finish(&failed, &error.to_string())?;
                work.reporter
                    .warn(&format!("{error}; {label} is passed over"));
            }
            other => tuned.push(other?),
        }
    }
    Ok(tuned)
}
