//! How precise each process needs to be.
//!
//! A process costs its start, its loading and its warm-up before the first sample. The variance of
//! the mean over processes has a part from within each process, which more samples reduce, and a
//! part from how processes differ, which only more processes reduce. Kalibera and Jones (*Rigorous
//! benchmarking in reasonable time*, ISMM 2013) give the number of samples that reaches an interval
//! in the least time.

use std::time::Duration;

use agent_protocol::Measurement;

use super::interval::Logarithms;

/// Processes before their differences say anything.
pub const FEWEST: usize = 4;
/// Half of a 95 % interval of a normal distribution, in standard deviations.
const NORMAL: f64 = 1.96;

/// Returns the relative half of the interval within a process at which sampling should end, for the
/// ratio that needs the narrowest; `None` as long as the processes do not show that they differ.
/// `elapsed` is the time that each process took in all.
pub fn precision(processes: &[Vec<Measurement>], elapsed: &[Duration]) -> Option<f64> {
    if processes.len() < FEWEST {
        return None;
    }
    let count = processes.len() as f64;
    let sampled: f64 = processes.iter().flatten().map(sampling_s).sum::<f64>() / count;
    let total: f64 = elapsed.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
    let overhead = (total - sampled).max(0.0);
    let slots = processes.iter().map(Vec::len).min().unwrap_or(0);
    let of_slot = |slot: usize| {
        let ratios = processes.iter().map(|answer| answer[slot].ratio);
        let ratios: Vec<_> = ratios.collect::<Option<_>>()?;
        let values: Vec<f64> = ratios.iter().map(|ratio| ratio.interval.value).collect();
        let halves = ratios.iter().map(|ratio| ratio.interval.half_width_rel());
        let within = halves.map(|half| (half / NORMAL).powi(2)).sum::<f64>() / count;
        let between = Logarithms::of(&values)?.variance - within;
        optimum(overhead, sampled, (within, between))
    };
    (0..slots).filter_map(of_slot).min_by(f64::total_cmp)
}

/// The half-width at the sampling time that costs least, from the variance `within` a process at
/// the present sampling time and that `between` processes.
fn optimum(overhead: f64, sampled: f64, (within, between): (f64, f64)) -> Option<f64> {
    let is_known = between > 0.0 && within > 0.0 && overhead > 0.0 && sampled > 0.0;
    if !is_known {
        return None;
    }
    let best = (overhead * within * sampled / between).sqrt();
    Some(NORMAL * (within * sampled / best).sqrt())
}

/// Time spent on the samples of a measurement, s.
fn sampling_s(m: &Measurement) -> f64 {
    m.samples_ns.iter().sum::<u64>() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_ends_sooner_the_more_processes_differ_and_the_less_they_cost() {
        // 1 % within after 1 s, 4 % between, 0.5 s of overhead: the least time is at
        // sqrt(0.5 * 1e-4 / 16e-4) = 0.177 s, where the deviation within is 2.38 %.
        let half = optimum(0.5, 1.0, (1e-4, 16e-4)).unwrap();
        assert!((half - NORMAL * 0.0238).abs() < 1e-4, "{half}");
        assert!(optimum(0.5, 1.0, (1e-4, 4e-4)).unwrap() < half);
        assert!(optimum(2.0, 1.0, (1e-4, 16e-4)).unwrap() < half);
        // The optimum does not depend on how long was sampled before.
        let longer = optimum(0.5, 4.0, (0.25e-4, 16e-4)).unwrap();
        assert!((half - longer).abs() < 1e-9);
        assert_eq!(optimum(0.5, 1.0, (1e-4, 0.0)), None);
    }

    #[test]
    fn the_optimum_costs_less_than_its_neighbours() {
        let (overhead, rate, between) = (0.4, 5e-5, 1.6e-3);
        let best = optimum(overhead, 1.0, (rate, between)).unwrap();
        let at = rate / (best / NORMAL).powi(2);
        // Time until the mean's variance is 1: processes times the time of each.
        let cost = |sampled: f64| (between + rate / sampled) * (overhead + sampled);
        assert!(cost(at) < cost(at * 1.2) && cost(at) < cost(at / 1.2));
    }
}
