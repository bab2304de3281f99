//! A judgement of the reference: its time against the best known one.

use agent_protocol::Measurement;

use crate::{LatencyError, LatencySource, MeasureRequest};

/// Share by which a reference may exceed its best known time before it is measured again. Whatever
/// slows it, such as another virtual machine, slows large networks more than small ones.
const SLOWER: f64 = 0.03;
/// Share of the reference's excess, up to [`SLOWER`], by which a ratio may be off. On a shared
/// machine, the ratio of one pair fell by a third of it between runs (`host/docs/decisions.md`).
const ERROR_SHARE: f64 = 0.5;
/// Share above which the second measurement is doubted. Quiet devices differ by half as much from
/// one minute to the next.
const DOUBTFUL: f64 = 0.15;
/// The same beside other programs, which may stream through memory.
const DOUBTFUL_BESIDE_OTHERS: f64 = 0.03;
/// Cores that other programs keep busy, on average, on an occupied device.
const OCCUPIED: f64 = 0.5;

/// Measures. Figures to rely on are measured once more where the 5th percentile of the reference's
/// runs is more than 3 % above `best_ns`, the best known one on the device, and those beside the
/// faster reference count. If it is more than 15 % slower still, or more than 3 % beside programs
/// that occupy the device, the measurements say so ([`Measurement::reference_excess_rel`]): other
/// work or a lower clock may have changed the ratios, too. Half of the excess, up to 3 %, is an
/// error in the intervals of ratios. [`Remembering`](crate::Remembering) takes the best time from
/// its store.
///
/// # Errors
/// Those of the source.
pub fn measure_near_best(
    source: &mut impl LatencySource,
    request: &MeasureRequest,
    best_ns: Option<f64>,
) -> Result<Vec<Measurement>, LatencyError> {
    let mut taken = source.measure(request)?;
    let Some(best_ns) = best_ns.filter(|_| request.processes.most > 1) else {
        return Ok(taken);
    };
    // What other work interrupts now and then is as fast in its best runs.
    let excess = |taken: &[Measurement]| Some(taken.last()?.p5_ns / best_ns - 1.0);
    if let Some(first) = excess(&taken).filter(|excess| *excess > SLOWER) {
        tracing::info!(excess = first, "the reference is slow; measuring again");
        let is_valid = |taken: &[Measurement]| taken.iter().all(Measurement::is_valid);
        if let Ok(again) = source.measure(request)
            && excess(&again).is_some_and(|second| second < first)
            && (is_valid(&again) || !is_valid(&taken))
        {
            taken = again;
        }
    }
    if let Some(excess) = excess(&taken) {
        let error = ERROR_SHARE * excess.clamp(0.0, SLOWER);
        for ratio in taken.iter_mut().filter_map(|m| m.ratio.as_mut()) {
            ratio.interval = ratio.interval.widened(error);
        }
    }
    let beside = taken.last().and_then(occupied);
    let most = match beside {
        Some(_) => DOUBTFUL_BESIDE_OTHERS,
        None => DOUBTFUL,
    };
    if let Some(excess) = excess(&taken).filter(|excess| *excess > most) {
        let note = format!(
            "the reference took {:.0} % longer than the best known on this device ({:.3} ms){}: other work or a lower clock, which \
             may have changed the ratio, too",
            excess * 100.0,
            best_ns / 1e6,
            beside.map_or(String::new(), |cores| format!(
                ", while other programs kept {cores:.1} cores busy"
            )),
        );
        for measurement in &mut taken {
            measurement.notes.push(note.clone());
            measurement.reference_excess_rel = Some(excess);
        }
    }
    Ok(taken)
}

/// How many cores other programs kept busy, where that is much.
fn occupied(reference: &Measurement) -> Option<f64> {
    reference.others_cores.filter(|cores| *cores > OCCUPIED)
}
