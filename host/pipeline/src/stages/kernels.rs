//! What the network's kernels take alone on the device, measured before the search: where predictions begin, and which widths are
//! worth having.

use std::time::Instant;

use latency_model::{KernelTable, ProbePlan};
use search::{CostKind, Space};
use serde::{Deserialize, Serialize};

use crate::device::Meter;
use crate::environment::CostModel;
use crate::error::PipelineError;
use crate::knowledge::misfit;
use crate::prepare::Prepared;
use crate::records::StageName;
use crate::stages::calibrate::{self, Calibration};
use crate::stages::train;
use crate::start::Feasibility;
use crate::work::{Work, nanoseconds};

/// What was measured, and the widths that the run offers since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kernels {
    pub table: KernelTable,
    /// The widths of each group.
    pub widths: Vec<Vec<usize>>,
    /// Time of the device, ns.
    pub measuring_ns: u64,
    /// What the times hang on: device, runtime, settings.
    pub circumstances: String,
    /// The other device of the profile that they were measured on, where it was another one.
    #[serde(default)]
    pub of: Option<String>,
}

/// Times that differ by more than this from one measurement to the next tell of no steps.
const TOO_NOISY: f64 = 0.05;

pub(crate) fn stage() -> StageName {
    StageName::new("kernels")
}

/// Measures the kernels, or reads back what was measured, and narrows the space to the widths worth having.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &mut Prepared,
    cost: CostKind,
) -> Result<(), PipelineError> {
    if cost == CostKind::Macs || !work.config.knowledge.kernels {
        return Ok(());
    }
    let meter = work.meter.as_ref();
    let circumstances = meter.map_or_else(String::new, Meter::circumstances);
    let known = match work.records.stage::<Kernels>(&stage())? {
        Some(known) if known.circumstances == circumstances => known,
        Some(known) => {
            work.reporter.warn(&format!(
                "the run began with {}, this is {circumstances}: kernels and calibration are measured again",
                known.circumstances
            ));
            let found = Kernels {
                // The Graph PruningNet was trained on these.
                widths: known.widths,
                ..measure(work, prepared, cost, circumstances, Whose::Donor)?
            };
            work.records.forget(&calibrate::stage())?;
            work.records.finish(&stage(), &found)?;
            found
        }
        // A run that is further on already keeps the widths it began with.
        None if work
            .records
            .stage::<serde_json::Value>(&calibrate::stage())?
            .is_some() =>
        {
            return Ok(());
        }
        None => {
            let found = measure(work, prepared, cost, circumstances, Whose::Donor)?;
            work.records.finish(&stage(), &found)?;
            found
        }
    };
    offer(prepared, known)
}

/// Narrows the space to the widths worth having, and lets predictions begin with the kernels.
fn offer(prepared: &mut Prepared, known: Kernels) -> Result<(), PipelineError> {
    if known.table.times().is_empty() {
        return Ok(());
    }
    let mut groups = prepared.all_widths.groups.clone();
    for (group, widths) in groups.iter_mut().zip(known.widths) {
        group.widths = widths;
    }
    prepared.space = Space::new(groups)?;
    prepared.times = Some(prepared.table.layer_times(&known.table));
    Ok(())
}

/// The other device whose kernels stand for those of this run's.
pub(crate) fn donor(work: &Work<'_>) -> Result<Option<String>, PipelineError> {
    Ok(work
        .records
        .stage::<Kernels>(&stage())?
        .and_then(|known| known.of))
}

/// Measures the device's own kernels after all, where whole networks show that those of another device of the profile do not fit.
pub(crate) fn verify(
    work: &mut Work<'_>,
    prepared: &mut Prepared,
    feasibility: &Feasibility,
    calibration: &[Calibration],
) -> Result<(), PipelineError> {
    let stage = stage();
    let Some(known) = work.records.stage::<Kernels>(&stage)? else {
        return Ok(());
    };
    let Some(other) = &known.of else {
        return Ok(());
    };
    let fit = CostModel::new(prepared, feasibility, calibration)?
        .predictor
        .fit()
        .copied();
    let Some(fit) = fit else {
        work.reporter.warn(&format!(
            "too few networks were measured to tell whether the kernels of {other} fit this device"
        ));
        return Ok(());
    };
    let Some(misfit) = misfit(other, &fit) else {
        return Ok(());
    };
    work.reporter.warn(&misfit);
    let mut found = measure(
        work,
        prepared,
        feasibility.cost,
        known.circumstances,
        Whose::Own,
    )?;
    if work.folder.path(train::CHECKPOINT).exists() {
        // The Graph PruningNet is trained on these.
        found.widths = known.widths;
    }
    work.records.finish(&stage, &found)?;
    offer(prepared, found)
}

/// Whose kernels may be taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    /// Those of another device of the profile, where they are known and the device's own are not.
    Donor,
}

fn measure(
    work: &mut Work<'_>,
    prepared: &Prepared,
    cost: CostKind,
    circumstances: String,
    whose: Whose,
) -> Result<Kernels, PipelineError> {
    let all: Vec<Vec<usize>> = prepared
        .all_widths
        .groups
        .iter()
        .map(|g| g.widths.clone())
        .collect();
    let plan = ProbePlan::new(&prepared.table, &all);
    let count = plan.points().len() as u64;
    let clock = Instant::now();
    let probe = &work.config.knowledge.probe;
    let donor = match &work.meter {
        Some(meter) if whose == Whose::Donor && work.config.knowledge.donor => {
            meter.donor_kernels(&plan, probe)?
        }
        _ => None,
    };
    let (of, table) = match (donor, work.meter.as_mut()) {
        (Some((other, table)), _) => (Some(other), table),
        (None, Some(meter)) => {
            work.reporter.begin("kernels", 0, count);
            let (stop, reporter) = (work.stop, &mut *work.reporter);
            let table = meter.kernels(&plan, probe, |done| {
                reporter.step(done as u64, "");
                !stop.is_set()
            })?;
            (None, table)
        }
        (None, None) => (None, KernelTable::default()),
    };
    work.tell_device_news()?;
    let measuring_ns = nanoseconds(clock.elapsed());
    if table.times().is_empty() {
        work.reporter
            .warn("no kernel has a valid measurement; predictions begin with MACs");
        return Ok(Kernels {
            table,
            widths: all,
            measuring_ns,
            circumstances,
            of,
        });
    }
    let times = prepared.table.layer_times(&table);
    let config = &work.config.knowledge;
    // A budget of MACs as well wants the widths in between, which cost no time but MACs.
    let narrows = config.step_edges && cost == CostKind::Latency && table.noise() <= TOO_NOISY;
    let widths: Vec<Vec<usize>> = all
        .iter()
        .enumerate()
        .map(|(group, widths)| {
            if narrows {
                prepared
                    .table
                    .step_edges(&times, group, widths, table.noise())
            } else {
                widths.clone()
            }
        })
        .collect();
    let total = |widths: &[Vec<usize>]| widths.iter().map(Vec::len).sum::<usize>();
    let unknown = match times.unknown() {
        0 => String::new(),
        n => format!(", {n} layers' kernels cannot be measured alone"),
    };
    let offered = if narrows {
        let (some, all) = (total(&widths), total(&all));
        format!("{some} of {all} widths are worth having")
    } else {
        format!("all {} widths are offered", total(&all))
    };
    let from = match &of {
        None => "measured".to_owned(),
        Some(other) => format!("known of {other}, of the same profile"),
    };
    work.reporter.end(&format!(
        "kernels: {} of {count} {from} (noise {:.1} %){unknown}; {offered}",
        table.times().len(),
        table.noise() * 100.0,
    ));
    Ok(Kernels {
        table,
        widths,
        measuring_ns,
        circumstances,
        of,
    })
}
