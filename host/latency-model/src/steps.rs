//! Steps of latency. Kernels work in blocks of channels, so latency is a step function of the
//! width, and only the widest width of each step is worth offering.

/// The time of each width, ascending in width.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    points: Vec<(usize, f64)>,
}

impl Curve {
    /// Creates a curve through (width, ns) points in any order. Of equal widths the first counts;
    /// times that are not positive and finite are dropped.
    pub fn new(points: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut points: Vec<(usize, f64)> = points
            .into_iter()
            .filter(|(_, ns)| ns.is_finite() && *ns > 0.0)
            .collect();
        points.sort_by_key(|&(width, _)| width);
        points.dedup_by_key(|&mut (width, _)| width);
        Self { points }
    }

    /// Returns the points, ascending in width.
    pub fn points(&self) -> &[(usize, f64)] {
        &self.points
    }

    /// Returns the time at a width, ns: interpolated linearly between the points, proportional to
    /// the width outside them. `None` for a curve without points.
    pub fn at(&self, width: f64) -> Option<f64> {
        let (first, last) = (*self.points.first()?, *self.points.last()?);
        if width <= first.0 as f64 {
            return Some(first.1 * width / first.0.max(1) as f64);
        }
        if width >= last.0 as f64 {
            return Some(last.1 * width / last.0.max(1) as f64);
        }
        let after = self.points.partition_point(|&(w, _)| (w as f64) < width);
        let ((from, low), (to, high)) = (self.points[after - 1], self.points[after]);
        let share = (width - from as f64) / (to - from) as f64;
        Some(low + share * (high - low))
    }

    /// Partitions the curve into steps: runs of widths whose times differ by no more than noise.
    /// `noise` is the relative standard deviation of a measured time.
    ///
    /// Dynamic programming minimises the squared deviations of the logarithms from their run's
    /// mean, in units of the noise, plus a price per run (Jackson et al., IEEE Signal Processing
    /// Letters 12 (2005), 105-108). With a price of three times the logarithm of the number of
    /// points, noise splits a step in less than one of a hundred curves.
    pub fn steps(&self, noise: f64) -> Vec<LatencyStep> {
        let n = self.points.len();
        let logs: Vec<f64> = self.points.iter().map(|&(_, ns)| ns.ln()).collect();
        let price = 3.0 * (n.max(2) as f64).ln();
        let variance = noise.max(1e-4).powi(2);
        let mut best = vec![0.0];
        let mut from = vec![0];
        for end in 1..=n {
            let (mut sum, mut squares) = (0.0, 0.0);
            let mut least = (f64::INFINITY, 0);
            for begin in (0..end).rev() {
                sum += logs[begin];
                squares += logs[begin] * logs[begin];
                let count = (end - begin) as f64;
                let deviation = (squares - sum * sum / count).max(0.0);
                let cost = best[begin] + deviation / variance + price;
                if cost < least.0 {
                    least = (cost, begin);
                }
            }
            best.push(least.0);
            from.push(least.1);
        }
        let mut steps = Vec::new();
        let mut end = n;
        while end > 0 {
            let begin = from[end];
            let run = &self.points[begin..end];
            steps.push(LatencyStep {
                first: run[0].0,
                last: run[run.len() - 1].0,
                points: run.len(),
                ns: (logs[begin..end].iter().sum::<f64>() / run.len() as f64).exp(),
            });
            end = begin;
        }
        steps.reverse();
        steps
    }

    /// Returns the step edges, ascending: the widest width of each step, except where a wider
    /// step takes as little time. A step counts as faster from three standard deviations of the
    /// noise on. The widest width is always among them.
    pub fn step_edges(&self, noise: f64) -> Vec<usize> {
        let mut fastest: Option<LatencyStep> = None;
        let mut edges = Vec::new();
        for step in self.steps(noise).into_iter().rev() {
            let gains = fastest.is_none_or(|wider| {
                let deviation = (1.0 / step.points as f64 + 1.0 / wider.points as f64).sqrt();
                (wider.ns / step.ns).ln() > 3.0 * noise * deviation
            });
            if gains {
                fastest = Some(step);
                edges.push(step.last);
            }
        }
        edges.reverse();
        edges
    }
}

/// A range of widths with equal latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyStep {
    /// The narrowest width.
    pub first: usize,
    /// The widest width: the edge.
    pub last: usize,
    /// The number of measured widths.
    pub points: usize,
    /// The geometric mean of their times, ns.
    pub ns: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn check(what: &str, points: &[(usize, f64)], noise: f64, expected: &[usize]) {
        let curve = Curve::new(points.iter().copied());
        assert_eq!(curve.step_edges(noise), expected, "{what}");
    }

    #[test]
    fn an_edge_is_the_widest_width_of_its_step() {
        // Milliseconds by output channels of a 3x3 convolution with 64 input channels at 56x56,
        // measured on an x86-64 core with AVX-512 (blocks of 16 channels).
        let measured = [
            (8, 0.64),
            (12, 0.58),
            (16, 0.58),
            (20, 1.17),
            (24, 1.14),
            (28, 1.20),
            (32, 1.19),
            (36, 1.76),
            (40, 1.73),
            (44, 1.72),
            (48, 1.86),
            (52, 2.41),
            (56, 2.37),
            (60, 2.41),
            (64, 2.52),
        ];
        check("measured", &measured, 0.04, &[16, 32, 48, 64]);
        let line: Vec<(usize, f64)> = (1..=8).map(|w| (w, w as f64)).collect();
        check("no steps", &line, 0.01, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let flat: Vec<(usize, f64)> = (1..=8).map(|w| (w, 3.0)).collect();
        check("one step", &flat, 0.01, &[8]);
        check("one point", &[(4, 1.0)], 0.01, &[4]);
        check("nothing", &[], 0.01, &[]);
    }

    #[test]
    fn a_width_slower_than_a_wider_one_is_no_edge() {
        // Counts that are not a multiple of four leave the blocked layout.
        let cliff = [
            (176, 0.25),
            (178, 0.52),
            (180, 0.25),
            (182, 0.52),
            (184, 0.25),
            (192, 0.251),
        ];
        check("cliff", &cliff, 0.01, &[192]);
    }

    #[test]
    fn noise_adds_no_steps_and_hides_none() {
        for seed in 0..50 {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let mut normal = || -> f64 { random.sample(rand_distr::StandardNormal) };
            let points: Vec<(usize, f64)> = (1..=16)
                .map(|i| {
                    (
                        i * 4,
                        f64::from((i as u32).div_ceil(4)) * (1.0 + 0.02 * normal()),
                    )
                })
                .collect();
            check(&format!("seed {seed}"), &points, 0.02, &[16, 32, 48, 64]);
        }
    }

    #[test]
    fn a_curve_is_linear_between_its_points_and_proportional_outside() {
        let curve = Curve::new([(8, 2.0), (4, 1.0), (16, 3.0), (16, 9.0), (20, f64::NAN)]);
        for (width, ns) in [(4.0, 1.0), (6.0, 1.5), (12.0, 2.5), (2.0, 0.5), (32.0, 6.0)] {
            assert_eq!(curve.at(width), Some(ns), "{width}");
        }
        assert_eq!(Curve::default().at(1.0), None);
    }
}
