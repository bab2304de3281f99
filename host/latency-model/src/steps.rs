//! Steps: kernels work in blocks of channels, so their latency moves in steps, and only the widest width of a step is worth having.

/// Widths and the time each takes, ascending in width.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    points: Vec<(usize, f64)>,
}

impl Curve {
    /// A curve through the points (width, ns), in any order; of equal widths the first counts, and times that are not positive
    /// and finite do not.
    pub fn new(points: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut points: Vec<(usize, f64)> = points
            .into_iter()
            .filter(|(_, ns)| ns.is_finite() && *ns > 0.0)
            .collect();
        points.sort_by_key(|&(width, _)| width);
        points.dedup_by_key(|&mut (width, _)| width);
        Self { points }
    }

    /// The points, ascending in width.
    pub fn points(&self) -> &[(usize, f64)] {
        &self.points
    }

    /// Time at a width, ns: on the line between the two points around it, and in proportion to the width outside of them. `None`
    /// for a curve without points.
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
        let place = (width - from as f64) / (to - from) as f64;
        Some(low + place * (high - low))
    }

    /// The curve as steps: runs of widths whose times differ by no more than the noise of a measurement, each with its mean time.
    ///
    /// `noise` is the standard deviation of a measured time relative to it. The partition minimises the squared deviations of
    /// the logarithms from the means of their runs, in units of the noise, plus a price for each run, by dynamic programming
    /// (Jackson et al., IEEE Signal Processing Letters 12 (2005), 105-108); the price is three times the logarithm of the number of
    /// points, so that noise makes a run in less than one of a hundred curves.
    pub fn steps(&self, noise: f64) -> Vec<Step> {
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
            steps.push(Step {
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

    /// The widths worth having, ascending: the last of each step, unless a wider one takes no longer by more than three standard
    /// deviations of what noise does. The widest is always there.
    pub fn corners(&self, noise: f64) -> Vec<usize> {
        let mut fastest: Option<Step> = None;
        let mut corners = Vec::new();
        for step in self.steps(noise).into_iter().rev() {
            let gains = fastest.is_none_or(|wider| {
                let deviation = (1.0 / step.points as f64 + 1.0 / wider.points as f64).sqrt();
                (wider.ns / step.ns).ln() > 3.0 * noise * deviation
            });
            if gains {
                fastest = Some(step);
                corners.push(step.last);
            }
        }
        corners.reverse();
        corners
    }
}

/// Widths that take the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The narrowest.
    pub first: usize,
    /// The widest: the corner.
    pub last: usize,
    /// How many widths of it were measured.
    pub points: usize,
    /// The time, ns.
    pub ns: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn check(what: &str, points: &[(usize, f64)], noise: f64, wanted: &[usize]) {
        let curve = Curve::new(points.iter().copied());
        assert_eq!(curve.corners(noise), wanted, "{what}");
    }

    #[test]
    fn corners_are_the_widest_of_each_step() {
        // Milliseconds of a 3x3 convolution with 64 input channels at 56x56 by output channels, measured on an x86-64 core with
        // AVX-512 (blocks of 16 channels).
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
    fn a_width_that_is_slower_than_a_wider_one_is_no_corner() {
        // Counts that are no multiple of four leave the blocked layout.
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
    fn noise_makes_no_steps_and_hides_none_that_are_larger() {
        for seed in 0..50 {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
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
    fn between_points_time_lies_on_the_line_and_outside_it_follows_the_width() {
        let curve = Curve::new([(8, 2.0), (4, 1.0), (16, 3.0), (16, 9.0), (20, f64::NAN)]);
        for (width, wanted) in [(4.0, 1.0), (6.0, 1.5), (12.0, 2.5), (2.0, 0.5), (32.0, 6.0)] {
            assert_eq!(curve.at(width), Some(wanted), "{width}");
        }
        assert_eq!(Curve::default().at(1.0), None);
    }
}
