//! The network's kernels, measured alone before the search: predictions begin with their sum, and
//! their step edges are the widths that are searched.

use std::time::Instant;

use latency_model::{KernelTable, ProbePlan};
use measuring::{DonorKernels, misfit};
use search::{CostKind, Space};
use serde::{Deserialize, Serialize};

use crate::environment::CostModel;
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::stages::calibrate::{CALIBRATION, Calibration};
use crate::stages::train;
use crate::start::Feasibility;
use crate::work::{Work, nanoseconds};

/// Measured kernels, and the widths that the run searches since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kernels {
    pub table: KernelTable,
    /// The widths of each group.
    pub widths: Vec<Vec<usize>>,
    /// Time of the device, ns.
    pub measuring_ns: u64,
    /// What the times depend on: device, runtime, settings.
    pub circumstances: String,
    /// The other device of the profile that measured them, if it was another one.
    #[serde(default, rename = "of")]
    pub donor: Option<String>,
}

/// Times that differ by more than this from one measurement to the next show no steps.
const TOO_NOISY: f64 = 0.05;

pub(crate) const KERNELS: Key<Kernels> = Key::new("kernels");

/// Measures the kernels, or reads back those of an earlier call, and narrows the space to the
/// step edges. Returns the donor of the kernels, if they are of another device.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &mut Prepared,
    cost: CostKind,
) -> Result<Option<String>, PipelineError> {
    if cost == CostKind::Macs || !work.config.knowledge.kernels {
        return Ok(None);
    }
    let circumstances = work.session.circumstances();
    let kernels = match work.records.get(&KERNELS)? {
        Some(recorded) if recorded.circumstances == circumstances => recorded,
        Some(recorded) => {
            work.reporter.warn(&format!(
                "the run began with {}, this is {circumstances}: kernels and calibration are measured again",
                recorded.circumstances
            ));
            let kernels = Kernels {
                // The Graph PruningNet was trained on these.
                widths: recorded.widths,
                ..measure(work, prepared, cost, Source::OwnOrDonor)?
            };
            work.records.forget(&CALIBRATION)?;
            work.records.finish(&KERNELS, &kernels)?;
            kernels
        }
        // A run that was calibrated without kernels keeps its widths.
        None if work.records.get(&CALIBRATION)?.is_some() => return Ok(None),
        None => {
            let kernels = measure(work, prepared, cost, Source::OwnOrDonor)?;
            work.records.finish(&KERNELS, &kernels)?;
            kernels
        }
    };
    let donor = kernels.donor.clone();
    apply(prepared, kernels)?;
    Ok(donor)
}

/// Narrows the space to the widths of `kernels`, and lets predictions begin with them.
fn apply(prepared: &mut Prepared, kernels: Kernels) -> Result<(), PipelineError> {
    if kernels.table.times().is_empty() {
        return Ok(());
    }
    let mut groups = prepared.all_widths.groups.clone();
    for (group, widths) in groups.iter_mut().zip(kernels.widths) {
        group.widths = widths;
    }
    prepared.space = Space::new(groups)?;
    prepared.times = Some(prepared.table.layer_times(&kernels.table));
    Ok(())
}

/// Measures the device's own kernels where whole networks show that those of a donor do not fit.
pub(crate) fn verify(
    work: &mut Work<'_>,
    prepared: &mut Prepared,
    feasibility: &Feasibility,
    calibration: &[Calibration],
) -> Result<(), PipelineError> {
    let Some(recorded) = work.records.get(&KERNELS)? else {
        return Ok(());
    };
    let Some(donor) = &recorded.donor else {
        return Ok(());
    };
    let samples = calibration.iter().map(Calibration::sample);
    let costs = CostModel::new(prepared, feasibility, samples)?;
    let Some(fit) = costs.predictor.fit().copied() else {
        work.reporter.warn(&format!(
            "too few networks were measured to check that the kernels of {donor} fit this device"
        ));
        return Ok(());
    };
    let Some(misfit) = misfit(donor, &fit) else {
        return Ok(());
    };
    work.reporter.warn(&misfit);
    let mut kernels = measure(work, prepared, feasibility.cost, Source::Own)?;
    if work.folder.path(train::CHECKPOINT).exists() {
        // The Graph PruningNet is trained on these.
        kernels.widths = recorded.widths;
    }
    work.records.finish(&KERNELS, &kernels)?;
    apply(prepared, kernels)
}

/// Which kernels may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Own,
    /// Those of another device of the profile, where the store holds them and not the device's
    /// own.
    OwnOrDonor,
}

fn measure(
    work: &mut Work<'_>,
    prepared: &Prepared,
    cost: CostKind,
    source: Source,
) -> Result<Kernels, PipelineError> {
    let all: Vec<Vec<usize>> = prepared
        .all_widths
        .groups
        .iter()
        .map(|g| g.widths.clone())
        .collect();
    // Curves begin at the full width, whether or not the search may take it.
    let probed = all.iter().zip(prepared.space.full().0);
    let probed = probed.map(|(widths, full)| match widths.last() {
        Some(&last) if last < full => widths.iter().copied().chain([full]).collect(),
        _ => widths.clone(),
    });
    let plan = ProbePlan::new(&prepared.table, &probed.collect::<Vec<_>>());
    let plan = match &prepared.stand_in {
        // One layer can be too large by itself. A kernel that cannot be built fails below.
        Some(_) => plan.retain(|point| {
            let network = point.network().map_err(drop);
            let runs = network.and_then(|of| prepared.can_run(&of).map_err(drop));
            runs.unwrap_or(true)
        }),
        None => plan,
    };
    let count = plan.points().len() as u64;
    let clock = Instant::now();
    let config = &work.config.knowledge;
    let of_donor = if source == Source::OwnOrDonor && config.donor {
        work.session.donor_kernels(&plan, &config.probe)?
    } else {
        None
    };
    let (donor, table) = match of_donor {
        Some(DonorKernels { donor, table }) => (Some(donor), table),
        None => {
            work.reporter.begin("kernels", 0, count);
            let (stop, reporter) = (work.stop, &mut *work.reporter);
            let probed = work.session.kernels(&plan, &config.probe, |done| {
                reporter.step(done as u64, "");
                !stop.is_set()
            })?;
            if let Some(warning) = probed.warning() {
                work.reporter.warn(&warning);
            }
            (None, probed.table)
        }
    };
    work.report_devices()?;
    let mut kernels = Kernels {
        widths: all,
        measuring_ns: nanoseconds(clock.elapsed()),
        circumstances: work.session.circumstances(),
        donor,
        table,
    };
    let noise = kernels.table.noise();
    if kernels.table.times().is_empty() {
        work.reporter
            .warn("no kernel has a valid measurement; predictions begin with MACs");
        return Ok(kernels);
    }
    let times = prepared.table.layer_times(&kernels.table);
    let total = |widths: &[Vec<usize>]| widths.iter().map(Vec::len).sum::<usize>();
    let all = total(&kernels.widths);
    // With a budget of MACs as well the widths in between count: they cost no time but MACs.
    let offered = if config.step_edges && cost == CostKind::Latency && noise <= TOO_NOISY {
        for (group, widths) in kernels.widths.iter_mut().enumerate() {
            *widths = prepared.table.step_edges(&times, group, widths, noise);
        }
        let edges = total(&kernels.widths);
        format!("{edges} of {all} widths are worth having")
    } else {
        format!("all {all} widths are offered")
    };
    let unknown = match times.unknown() {
        0 => String::new(),
        n => format!(", {n} layers' kernels cannot be measured alone"),
    };
    let from = match &kernels.donor {
        None => "measured".to_owned(),
        Some(donor) => format!("known of {donor}, of the same profile"),
    };
    work.reporter.end(&format!(
        "kernels: {} of {count} {from} (noise {:.1} %){unknown}; {offered}",
        kernels.table.times().len(),
        noise * 100.0,
    ));
    Ok(kernels)
}
