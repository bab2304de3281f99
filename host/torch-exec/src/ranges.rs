//! Ranges of activations, from which quantised networks take their integers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use onnx_graph::{DType, Graph, ValueId};
use tch::{Kind, TchError, Tensor};

use crate::{ExecError, Params, Program};

/// Bins of the histograms.
const BINS: usize = 2048;

/// Shares of the whole range that [`RangeMethod::LeastSquares`] tries.
const TRIED: usize = 40;

/// How the range of an activation follows from its observed values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RangeMethod {
    /// The least and the greatest value.
    #[default]
    MinMax,
    /// All but a share of the values, in percent: half of the rest is cut at each end.
    Percentile(f64),
    /// The part of the range for which the mean squared error of 8-bit integers is least.
    LeastSquares,
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::LeastSquares => f.write_str("least-squares"),
        }
    }
}

impl FromStr for RangeMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = |text: &str| text.parse().ok().filter(|p| (50.0..=100.0).contains(p));
        let method = match text.split_once(':') {
            None if text == "min-max" => Some(Self::MinMax),
            None if text == "least-squares" => Some(Self::LeastSquares),
            Some(("percentile", of)) => percent(of).map(Self::Percentile),
            _ => None,
        };
        method.ok_or_else(|| {
            format!("'{text}' is none of min-max, least-squares and percentile:P with P from 50 to 100, such as 99.99")
        })
    }
}

/// What was seen of an activation.
struct Seen {
    low: f64,
    high: f64,
    /// How many values lie in each of equal parts of the range; empty for [`RangeMethod::MinMax`].
    counts: Vec<f64>,
}

/// Returns the range of every floating-point activation of `graph` over `batches`, each
/// `[N, C, H, W]` on one device. A value that is not finite leaves its activation out.
///
/// # Errors
/// [`ExecError::NoBatches`] for no batch; otherwise as [`Program::compile`] and
/// [`Program::forward`].
pub fn activation_ranges(
    graph: &Graph,
    batches: &[Tensor],
    method: RangeMethod,
) -> Result<BTreeMap<ValueId, (f32, f32)>, ExecError> {
    let first = batches.first().ok_or(ExecError::NoBatches)?;
    let program = Program::compile(graph)?;
    let params = Params::from_graph(graph, first.device())?;
    let live = graph.live(|_, _| true).nodes;
    let made = graph.iter().filter(|(id, _)| live[id.index()]);
    let made = made.flat_map(|(_, node)| node.outputs.iter().flatten());
    let floats = |id: &ValueId| graph.value(*id).dtype == Some(DType::F32);
    let taps: Vec<ValueId> = graph
        .inputs()
        .iter()
        .chain(made)
        .copied()
        .filter(floats)
        .collect();

    let mut seen: BTreeMap<ValueId, Seen> = BTreeMap::new();
    let pass = |observe: &mut dyn FnMut(ValueId, &Tensor) -> Result<(), TchError>| {
        for batch in batches {
            program.watch(batch, &params, None, &taps, &mut |id, tensor| {
                observe(id, tensor).map_err(ExecError::tensor("observing activations"))
            })?;
        }
        Ok::<_, ExecError>(())
    };
    pass(&mut |id, tensor| {
        let low = tensor.f_min()?.f_double_value(&[])?;
        let high = tensor.f_max()?.f_double_value(&[])?;
        let of = seen.entry(id).or_insert(Seen {
            low,
            high,
            counts: Vec::new(),
        });
        // A NaN stays.
        of.low = if low < of.low || low.is_nan() {
            low
        } else {
            of.low
        };
        of.high = if high > of.high || high.is_nan() {
            high
        } else {
            of.high
        };
        Ok(())
    })?;
    seen.retain(|_, of| of.low.is_finite() && of.high.is_finite());
    if method != RangeMethod::MinMax {
        pass(&mut |id, tensor| {
            let Some(of) = seen.get_mut(&id).filter(|of| of.high > of.low) else {
                return Ok(());
            };
            let flat = tensor.f_to_kind(Kind::Float)?.f_flatten(0, -1)?;
            let counts = flat.f_histc(BINS as i64)?;
            let (low, high) = (
                flat.f_min()?.f_double_value(&[])?,
                flat.f_max()?.f_double_value(&[])?,
            );
            let counts: Vec<f32> = Vec::try_from(&counts.f_to_device(tch::Device::Cpu)?)?;
            of.add(&counts, (low, high));
            Ok(())
        })?;
    }
    Ok(seen
        .into_iter()
        .map(|(id, of)| (id, of.range(method)))
        .collect())
}

impl Seen {
    /// Adds the histogram of a batch, whose equal parts are those of its own range.
    fn add(&mut self, counts: &[f32], (low, high): (f64, f64)) {
        if self.counts.is_empty() {
            self.counts = vec![0.0; BINS];
        }
        let width = (self.high - self.low) / BINS as f64;
        for (bin, &count) in counts.iter().enumerate() {
            let value = low + (bin as f64 + 0.5) * (high - low) / BINS as f64;
            let at = ((value - self.low) / width) as usize;
            self.counts[at.min(BINS - 1)] += f64::from(count);
        }
    }

    fn range(&self, method: RangeMethod) -> (f32, f32) {
        let whole = (self.low as f32, self.high as f32);
        if self.counts.is_empty() {
            return whole;
        }
        match method {
            RangeMethod::MinMax => whole,
            RangeMethod::Percentile(percent) => self.percentile(percent / 100.0),
            RangeMethod::LeastSquares => self.least_squares(),
        }
    }

    /// The value at the middle of a bin.
    fn value(&self, bin: usize) -> f64 {
        self.low + (bin as f64 + 0.5) * (self.high - self.low) / BINS as f64
    }

    fn percentile(&self, share: f64) -> (f32, f32) {
        let total: f64 = self.counts.iter().sum();
        let cut = total * (1.0 - share) / 2.0;
        let beyond = |passed: &mut f64, bin: &usize| {
            *passed += self.counts[*bin];
            *passed > cut
        };
        let (mut below, mut above) = (0.0, 0.0);
        let low = (0..BINS).find(|bin| beyond(&mut below, bin));
        let high = (0..BINS).rev().find(|bin| beyond(&mut above, bin));
        let low = low.map_or(self.low, |bin| self.value(bin));
        let high = high.map_or(self.high, |bin| self.value(bin));
        // What is never negative is cut at its upper end only.
        let low = if self.low >= 0.0 { self.low } else { low };
        (low as f32, high.max(low) as f32)
    }

    /// The part of the range with the least mean squared error, one end after the other: values
    /// within it are off by a uniform rounding error, those beyond it by their distance.
    fn least_squares(&self) -> (f32, f32) {
        let error = |low: f64, high: f64| {
            let step = (high - low) / 255.0;
            let of_bin = |(bin, count): (usize, &f64)| {
                let value = self.value(bin);
                let beyond = value - value.clamp(low, high);
                count * (beyond * beyond + step * step / 12.0)
            };
            self.counts.iter().enumerate().map(of_bin).sum::<f64>()
        };
        let parts = || (1..=TRIED).map(|i| i as f64 / TRIED as f64);
        let best = |error: &dyn Fn(f64) -> f64| {
            let part = parts().min_by(|&a, &b| error(a).total_cmp(&error(b)));
            part.unwrap_or(1.0)
        };
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        let high = high * best(&|part| error(low, high * part));
        let low = low * best(&|part| error(low * part, high));
        (low as f32, high as f32)
    }
}

#[cfg(test)]
mod tests {
    use onnx_graph::Dim;
    use onnx_graph::ops::Relu;

    use super::*;

    /// The ranges of the input and of its positive part.
    fn ranges(values: &[f32], method: RangeMethod) -> [(f32, f32); 2] {
        let mut graph = Graph::new("ranges", 17);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(1)];
        let x = graph.add_input("x", DType::F32, shape);
        let y = graph.push("relu", Relu.into(), &[x]).expect("it fits");
        graph.add_output(y);
        let batches: Vec<Tensor> = values
            .chunks(values.len().div_ceil(2))
            .map(|half| Tensor::from_slice(half).reshape([-1, 1]))
            .collect();
        let found = activation_ranges(&graph, &batches, method).expect("it runs");
        [found[&x], found[&y]]
    }

    #[test]
    fn the_whole_range_is_over_all_batches() {
        let found = ranges(&[1.0, -2.0, 3.0, -4.0, 0.5], RangeMethod::MinMax);
        assert_eq!(found, [(-4.0, 3.0), (0.0, 3.0)]);
    }

    #[test]
    fn a_percentile_cuts_the_ends() {
        let values: Vec<f32> = (0..10_000).map(|i| i as f32 / 9_999.0).collect();
        let [(low, high), _] = ranges(&values, RangeMethod::Percentile(90.0));
        assert_eq!(
            low, 0.0,
            "values that are never negative are cut at the upper end"
        );
        assert!((high - 0.95).abs() < 2e-3, "{high}");
    }

    #[test]
    fn a_single_outlier_does_not_widen_the_least_squares_range() {
        let mut values: Vec<f32> = (0..200_000).map(|i| (i as f32 / 1e5) - 1.0).collect();
        let [whole, _] = ranges(&values, RangeMethod::LeastSquares);
        assert!(whole.1 > 0.95, "{whole:?}");
        values.push(4.0);
        let [(_, high), _] = ranges(&values, RangeMethod::LeastSquares);
        assert!((1.0..3.5).contains(&high), "{high}");
    }

    #[test]
    fn a_method_is_read_as_it_is_written() {
        for method in [
            RangeMethod::MinMax,
            RangeMethod::LeastSquares,
            RangeMethod::Percentile(99.9),
        ] {
            assert_eq!(method.to_string().parse(), Ok(method));
        }
        assert!("percentile:20".parse::<RangeMethod>().is_err());
        assert!("entropy".parse::<RangeMethod>().is_err());
    }
}
