//! GPTQ in closed form (Frantar et al., ICLR 2023).
//!
//! The error of a row of weights `w` is `(w - q) H (w - q)^T`, where `H` is the sum of the outer
//! products of the layer's inputs. GPTQ rounds one weight after the other, and moves the weights
//! left so that they compensate for the error so far. It equals rounding with linear feedback
//! from the factors of `H` (Chee et al., QuIP, NeurIPS 2023, theorem 6): with `H = L L^T`,
//!
//! ```text
//! q[i] = round(w[i] + sum over j > i of (w[j] - q[j]) L[j, i] / L[i, i])
//! ```
//!
//! from the last column to the first. This needs one factorisation and no inverse.

use std::ops::Range;

use super::matrix::{BLOCK, Matrix};
use super::scale::{best_scale, nearest};
use super::{Quantizer, differences};
use crate::tensor::Layout;
use crate::{Bits, CodecError, Quantized, Tensor};

/// The Gram matrix of a layer's inputs.
#[derive(Clone, Copy, Debug)]
pub struct Hessian<'a> {
    /// Number of inputs of one output channel: `in * height * width` of a convolution.
    pub size: usize,
    /// Row-major `[size, size]`: the sum, or the mean, over the positions of all images of
    /// `x x^T`. Inputs are in the order of the weight's axes without that of the channels.
    pub values: &'a [f64],
}

/// Settings of [`Gptq`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GptqConfig {
    /// Share of the mean diagonal that is added to the diagonal.
    pub damping: f64,
    /// Whether to round the weights of the inputs with the largest diagonal first. Otherwise the
    /// order is that of the tensor.
    pub act_order: bool,
}

impl Default for GptqConfig {
    fn default() -> Self {
        Self {
            damping: 0.01,
            act_order: true,
        }
    }
}

/// Rounding that keeps a layer's outputs. The error is the squared error of the outputs, in the
/// norm of the damped Hessian.
///
/// ```
/// use weight_codec::{Bits, Gptq, GptqConfig, Hessian, Nearest, Quantizer, Tensor};
///
/// let tensor = Tensor {
///     name: "fc.weight",
///     values: &[0.9, 0.4, -0.3],
///     dims: &[1, 3],
///     channel_axis: 0,
/// };
/// // The last two inputs are nearly equal, so their weights compensate for each other.
/// let hessian = Hessian {
///     size: 3,
///     values: &[1.0, 0.0, 0.0, 0.0, 1.0, 0.9, 0.0, 0.9, 1.0],
/// };
/// let gptq = Gptq::new(tensor.name, &[hessian], &GptqConfig::default())?;
/// let bits = Bits::new(2)?;
/// let error = gptq.error(&tensor, &gptq.quantize(&tensor, bits)?)?;
/// assert!(error <= gptq.error(&tensor, &Nearest.quantize(&tensor, bits)?)?);
/// # Ok::<(), weight_codec::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gptq {
    /// One for each group of a grouped convolution.
    factors: Vec<Factor>,
}

/// The factorised Hessian of a group.
#[derive(Clone, Debug)]
struct Factor {
    /// `L`, in the lower triangle.
    lower: Matrix,
    /// Input of each column.
    order: Vec<usize>,
    /// Whether the input of each column is always 0.
    dead: Vec<bool>,
}

impl Gptq {
    /// Factorises the Hessians of a layer: one, or one per group of a grouped convolution, whose
    /// output channels are in the order of the groups. `name` is the tensor's, for errors.
    ///
    /// Takes `size^3 / 3` multiplications; all numbers of bits share them.
    ///
    /// # Errors
    /// [`CodecError::Hessian`] for a matrix of another size, one that is not finite, or one that
    /// is not positive definite when damped; [`CodecError::InvalidOption`] for the damping.
    pub fn new(name: &str, hessians: &[Hessian], config: &GptqConfig) -> Result<Self, CodecError> {
        if !(config.damping >= 0.0 && config.damping.is_finite()) {
            return Err(CodecError::InvalidOption {
                option: "damping",
                reason: format!("must be at least 0, not {}", config.damping),
            });
        }
        let factors = hessians.iter().map(|hessian| {
            Factor::new(hessian, config).map_err(|reason| CodecError::Hessian {
                tensor: name.into(),
                reason,
            })
        });
        Ok(Self {
            factors: factors.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the channels of each group.
    ///
    /// # Errors
    /// [`CodecError::Hessian`] if the tensor does not have as many groups and inputs.
    fn channels_per_group(&self, name: &str, layout: &Layout) -> Result<usize, CodecError> {
        let groups = self.factors.len();
        let fits = |factor: &Factor| factor.order.len() == layout.row_len();
        if groups > 0 && layout.channels.is_multiple_of(groups) && self.factors.iter().all(fits) {
            return Ok(layout.channels / groups);
        }
        let (channels, inputs) = (layout.channels, layout.row_len());
        Err(CodecError::Hessian {
            tensor: name.into(),
            reason: format!("{groups} do not fit {channels} channels of {inputs} inputs"),
        })
    }
}

impl Quantizer for Gptq {
    fn quantize(&self, tensor: &Tensor, bits: Bits) -> Result<Quantized, CodecError> {
        let layout = tensor.layout()?;
        let per_group = self.channels_per_group(tensor.name, &layout)?;
        let scale = |channel| {
            let row = layout.row(channel).map(|index| tensor.values[index]);
            best_scale(&row.collect::<Vec<_>>(), bits)
        };
        let scales: Vec<f32> = (0..layout.channels).map(scale).collect();
        let mut integers = vec![0; layout.len()];
        for (group, factor) in self.factors.iter().enumerate() {
            let first = group * per_group;
            let channels = first..first + per_group;
            let weights = factor.gather(&layout, channels.clone(), |index| {
                f64::from(tensor.values[index])
            });
            let mut rounding = Rounding {
                factor,
                feedback: Matrix::new(weights.rows(), weights.columns(), |_, _| 0.0),
                integers: vec![0; weights.rows() * weights.columns()],
                weights,
                scales: &scales[channels.clone()],
                bits,
            };
            rounding.run();
            let rows = rounding.integers.chunks_exact(layout.row_len());
            for (row, channel) in rows.zip(channels) {
                let indices: Vec<usize> = layout.row(channel).collect();
                for (integer, input) in row.iter().zip(&factor.order) {
                    integers[indices[*input]] = *integer;
                }
            }
        }
        Quantized::new(tensor, bits, integers, scales)
    }

    fn error(&self, tensor: &Tensor, quantized: &Quantized) -> Result<f64, CodecError> {
        let differences = differences(tensor, quantized)?;
        let layout = quantized.layout();
        let per_group = self.channels_per_group(tensor.name, &layout)?;
        let mut error = 0.0;
        for (group, factor) in self.factors.iter().enumerate() {
            let first = group * per_group;
            let rows = factor.gather(&layout, first..first + per_group, |index| {
                differences[index]
            });
            error += factor.norm(rows);
        }
        Ok(error)
    }
}

impl Factor {
    /// Factorises a Hessian, or returns its fault.
    fn new(hessian: &Hessian, config: &GptqConfig) -> Result<Self, String> {
        let Hessian { size, values } = *hessian;
        if size == 0 || size.checked_mul(size) != Some(values.len()) {
            let count = values.len();
            return Err(format!("{count} values are not a matrix of {size} inputs"));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err("it is not finite".into());
        }
        let diagonal = |input: usize| values[input * (size + 1)];
        let live = (0..size).filter(|input| diagonal(*input) > 0.0).count();
        let mean = if live == 0 {
            1.0
        } else {
            (0..size).map(diagonal).sum::<f64>() / live as f64
        };
        // The columns are rounded from the last to the first.
        let mut order: Vec<usize> = (0..size).rev().collect();
        if config.act_order {
            order.sort_by(|a, b| diagonal(*a).total_cmp(&diagonal(*b)));
        }
        let dead: Vec<bool> = order.iter().map(|input| diagonal(*input) <= 0.0).collect();
        let mut lower = Matrix::new(size, size, |row, column| {
            let value = values[order[row] * size + order[column]];
            match row == column {
                true if dead[row] => mean,
                true => value + config.damping * mean,
                false => value,
            }
        });
        lower.factorize().map_err(|column| {
            let input = order[column];
            format!("it is not positive definite at input {input}; use more images or damping")
        })?;
        Ok(Self { lower, order, dead })
    }

    /// Returns the values of some channels, in the order of the columns.
    fn gather(
        &self,
        layout: &Layout,
        channels: Range<usize>,
        value: impl Fn(usize) -> f64,
    ) -> Matrix {
        let mut indices = Vec::with_capacity(self.order.len());
        Matrix::new(channels.len(), self.order.len(), |row, column| {
            if column == 0 {
                indices.clear();
                indices.extend(layout.row(channels.start + row));
            }
            value(indices[self.order[column]])
        })
    }

    /// Returns the sum of `e H e^T` over rows, without the dead columns.
    fn norm(&self, mut rows: Matrix) -> f64 {
        let size = self.order.len();
        for row in 0..rows.rows() {
            let values = rows.row_mut(row).iter_mut().zip(&self.dead);
            for (value, _) in values.filter(|(_, dead)| **dead) {
                *value = 0.0;
            }
        }
        let mut sum = 0.0;
        for start in (0..size).step_by(BLOCK) {
            let end = (start + BLOCK).min(size);
            let mut lower = self.lower.block(start..size, start..end);
            // Above the diagonal are values of the Hessian, not of the factor.
            for row in 0..end - start {
                lower.row_mut(row)[row + 1..].fill(0.0);
            }
            let left = rows.block(0..rows.rows(), start..size);
            let mut product = Matrix::new(rows.rows(), end - start, |_, _| 0.0);
            let operands = (left.operand(0..rows.rows()), lower.operand(0..size - start));
            product.add_product((0, 0), 1.0, operands);
            let values = (0..product.rows()).flat_map(|row| product.row(row));
            sum += values.map(|value| value * value).sum::<f64>();
        }
        sum
    }
}

/// The rounding of the channels of one group.
struct Rounding<'a> {
    factor: &'a Factor,
    /// `w`, and where it is rounded `w - q`.
    weights: Matrix,
    /// Sums over `j` of `(w[j] - q[j]) L[j, i]`.
    feedback: Matrix,
    integers: Vec<i8>,
    scales: &'a [f32],
    bits: Bits,
}

impl Rounding<'_> {
    fn run(&mut self) {
        let (rows, size) = (self.weights.rows(), self.weights.columns());
        for start in (0..size).step_by(BLOCK).rev() {
            let end = (start + BLOCK).min(size);
            for row in 0..rows {
                self.round(row, start..end);
            }
            let errors = self.weights.block(0..rows, start..end);
            let lower = self.factor.lower.block(start..end, 0..start);
            let operands = (errors.operand(0..rows), lower.operand(0..end - start));
            self.feedback.add_product((0, 0), 1.0, operands);
        }
    }

    /// Rounds some columns of a row, with feedback within them.
    fn round(&mut self, row: usize, columns: Range<usize>) {
        let scale = self.scales[row];
        let weights = self.weights.row_mut(row);
        let feedback = self.feedback.row_mut(row);
        let integers = &mut self.integers[row * weights.len()..];
        for column in columns.clone().rev() {
            // The input of a dead column is 0, and so is the cheapest weight.
            if self.factor.dead[column] {
                weights[column] = 0.0;
                continue;
            }
            let lower = self.factor.lower.row(column);
            let target = weights[column] + feedback[column] / lower[column];
            let integer = nearest(target, scale, self.bits);
            integers[column] = integer;
            weights[column] -= f64::from(integer) * f64::from(scale);
            let left = columns.start..column;
            for (sum, lower) in feedback[left.clone()].iter_mut().zip(&lower[left]) {
                *sum += weights[column] * lower;
            }
        }
    }
}
