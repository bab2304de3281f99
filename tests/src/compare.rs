//! Comparison of outputs.

use std::fmt;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Tensor, ValueId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Array;

/// The difference of two outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Largest absolute difference over the spread (largest minus smallest element) of the
    /// reference.
    pub relative: f64,
    /// The spread of the reference.
    pub spread: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1e} of a spread of {:.2e}",
            self.relative, self.spread
        )
    }
}

/// Returns the largest difference between `got` and `reference`; infinite when shapes differ or
/// an element is not finite.
#[must_use]
pub fn difference(got: &Array, reference: &Array) -> Difference {
    let (mut low, mut high, mut apart) = (f64::INFINITY, f64::NEG_INFINITY, 0.0f64);
    let comparable = got.shape == reference.shape && got.data.len() == reference.data.len();
    let finite = got
        .data
        .iter()
        .chain(&reference.data)
        .all(|x| x.is_finite());
    for (&g, &r) in got.data.iter().zip(&reference.data) {
        let (g, r) = (f64::from(g), f64::from(r));
        (low, high, apart) = (low.min(r), high.max(r), apart.max((g - r).abs()));
    }
    let spread = high - low;
    if !comparable || !finite {
        return Difference {
            relative: f64::INFINITY,
            spread,
        };
    }
    // A constant output has no spread, so its magnitude is the scale; equal outputs are equal in
    // any case.
    let scale = if spread > 0.0 {
        spread
    } else {
        high.abs().max(f64::MIN_POSITIVE)
    };
    Difference {
        relative: if apart == 0.0 { 0.0 } else { apart / scale },
        spread,
    }
}

/// Sets the parameters of every BatchNormalization as after training: scale 0.3 to 0.9 (above,
/// deep residual networks grow without bound), bias and mean -0.3 to 0.3, variance 0.5 to 1.5.
/// Initial parameters are the identity, and a test on them would prove little.
///
/// # Panics
/// When a parameter is not a float constant.
pub fn randomise_norms(graph: &mut Graph, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters: Vec<(ValueId, f32, f32)> = Vec::new();
    for node in graph.nodes() {
        if matches!(node.op, Op::BatchNormalization(_)) {
            for (i, low, high) in [(1, 0.3, 0.9), (2, -0.3, 0.3), (3, -0.3, 0.3), (4, 0.5, 1.5)] {
                parameters.push((
                    node.input(i).expect("BatchNormalization has five inputs"),
                    low,
                    high,
                ));
            }
        }
    }
    for (id, low, high) in parameters {
        let dims = graph
            .constant(id)
            .expect("a constant parameter")
            .dims()
            .to_vec();
        let data = (0..dims.iter().product())
            .map(|_| rng.random_range(low..high))
            .collect();
        graph
            .set_constant(id, Tensor::f32(dims, data).expect("as many as before"))
            .expect("a constant");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(data: &[f32]) -> Array {
        Array {
            shape: vec![data.len()],
            data: data.to_vec(),
        }
    }

    #[test]
    fn a_difference_is_relative_to_the_spread_of_the_reference() {
        let apart = difference(
            &array(&[100.0, 101.0, 110.5]),
            &array(&[100.0, 101.0, 110.0]),
        );
        assert_eq!((apart.relative, apart.spread), (0.05, 10.0));
        assert_eq!(difference(&array(&[3.0]), &array(&[3.0])).relative, 0.0);
        assert_eq!(difference(&array(&[3.5]), &array(&[2.0])).relative, 0.75);
    }

    #[test]
    fn incomparable_outputs_have_an_infinite_difference() {
        let reference = array(&[1.0, 2.0]);
        for got in [
            array(&[1.0]),
            array(&[1.0, f32::NAN]),
            Array {
                shape: vec![1, 2],
                data: vec![1.0, 2.0],
            },
        ] {
            assert_eq!(difference(&got, &reference).relative, f64::INFINITY);
        }
    }
}
