//! Encoding.

use std::collections::{BTreeSet, BinaryHeap};

use super::bits::{Event, Rice, Writer};
use super::walk::Walk;
use super::{MAGIC, VERSION, decay};
use crate::wire::write_number;
use crate::{CodecError, Tensor};

/// Residuals below this share of their tensor's norm are left.
const NEGLIGIBLE: f64 = 1e-9;
/// The factor of alpha while no residual is larger than the amount.
const ALPHA_DECAY: f64 = 0.9;

/// When to stop refining.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SurpStop {
    /// When this share of the weights is not zero, of 1.
    Density(f64),
    /// Before the stream is longer than so many bytes.
    Bytes(usize),
}

/// Settings of [`surp_encode`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurpConfig {
    /// Seed of the order in which weights are refined. The stream contains it.
    pub seed: u64,
    /// Factor of the mean residual in the amount of a step, at the start.
    pub alpha: f64,
    /// When to stop.
    pub stop: SurpStop,
}

impl Default for SurpConfig {
    /// The authors' alpha of 10, and a density of 0.6.
    fn default() -> Self {
        Self {
            seed: 0,
            alpha: 10.0,
            stop: SurpStop::Density(0.6),
        }
    }
}

/// Encodes tensors as a stream whose prefixes all decode. Each tensor is divided by its Euclidean
/// norm, so that all layers are refined alike. See [`SurpDecoder`](crate::SurpDecoder) for an
/// example. The stream ends earlier if no weight is left to refine.
///
/// Takes about `log(n)` per step and `n` per refresh of the amount. There are some hundred
/// refreshes.
///
/// # Errors
/// [`CodecError::Tensor`] for a tensor that is empty, whose values are not finite, or whose norm
/// overflows f32; [`CodecError::InvalidOption`] for invalid settings, no tensors, or fewer bytes
/// than the header has.
pub fn surp_encode(tensors: &[Tensor], config: &SurpConfig) -> Result<Vec<u8>, CodecError> {
    check(tensors, config)?;
    let mut header = MAGIC.to_vec();
    header.push(VERSION);
    header.extend(config.seed.to_le_bytes());
    write_number(&mut header, tensors.len() as u64);
    let mut weights = Vec::new();
    for tensor in tensors {
        tensor.layout()?;
        let squares = tensor.values.iter().map(|value| f64::from(*value).powi(2));
        let norm = squares.sum::<f64>().sqrt() as f32;
        if !norm.is_finite() {
            return Err(CodecError::tensor(tensor.name, "its norm overflows"));
        }
        // A subnormal norm is rounded too much to divide by; such weights become 0.
        let inverse = match norm < f32::MIN_POSITIVE {
            true => 0.0,
            false => 1.0 / f64::from(norm),
        };
        write_number(&mut header, tensor.values.len() as u64);
        header.extend(norm.to_le_bytes());
        let values = tensor.values.iter();
        weights.extend(values.map(|value| f64::from(*value) * inverse));
    }
    let checksum = crc32c::crc32c(&header);
    header.extend(checksum.to_le_bytes());
    let room = match config.stop {
        SurpStop::Bytes(bytes) => {
            bytes
                .checked_sub(header.len())
                .ok_or_else(|| CodecError::InvalidOption {
                    option: "stop",
                    reason: format!("must be at least {} bytes, not {bytes}", header.len()),
                })?
        }
        SurpStop::Density(_) => usize::MAX,
    };
    let most = match config.stop {
        SurpStop::Density(density) => {
            let nonzero = weights.iter().filter(|weight| **weight != 0.0).count();
            nonzero.min((density * weights.len() as f64).ceil() as usize)
        }
        SurpStop::Bytes(_) => usize::MAX,
    };
    let mut refining = Refining::new(&weights, config);
    while refining.nonzero < most && refining.writer.len() <= room && refining.step() {}
    header.extend(refining.writer.finish());
    // The last step may be beyond the limit. What is left of it is ignored.
    header.truncate(match config.stop {
        SurpStop::Bytes(bytes) => bytes,
        SurpStop::Density(_) => usize::MAX,
    });
    Ok(header)
}

fn check(tensors: &[Tensor], config: &SurpConfig) -> Result<(), CodecError> {
    let invalid = |option, reason| Err(CodecError::InvalidOption { option, reason });
    if tensors.is_empty() {
        return invalid("tensors", "there are none".into());
    }
    if !(config.alpha > 0.0 && config.alpha.is_finite()) {
        return invalid("alpha", format!("must be positive, not {}", config.alpha));
    }
    match config.stop {
        SurpStop::Density(density) if !(0.0..=1.0).contains(&density) => {
            invalid("stop", format!("a density is 0 to 1, not {density}"))
        }
        _ => Ok(()),
    }
}

/// The state of encoding. Weights are numbered by their place in the walk.
struct Refining {
    walk: Walk,
    /// Sizes of the residuals.
    residuals: Vec<f64>,
    negative: Vec<bool>,
    refined: Vec<bool>,
    nonzero: usize,
    /// Places with residuals larger than the amount.
    large: BTreeSet<usize>,
    /// The others, by the bits of their residuals: as integers, these order positive numbers.
    small: BinaryHeap<(u64, usize)>,
    alpha: f64,
    amount: f64,
    decay: f64,
    place: u64,
    rice: Rice,
    writer: Writer,
}

impl Refining {
    fn new(weights: &[f64], config: &SurpConfig) -> Self {
        let n = weights.len();
        let walk = Walk::new(n as u64, config.seed);
        let at = |place| weights[walk.weight(place as u64)];
        let residuals: Vec<f64> = (0..n).map(|place| at(place).abs()).collect();
        let heap = residuals.iter().enumerate();
        Self {
            walk,
            negative: (0..n).map(|place| at(place) < 0.0).collect(),
            refined: vec![false; n],
            nonzero: 0,
            large: BTreeSet::new(),
            small: heap.map(|(place, size)| (size.to_bits(), place)).collect(),
            residuals,
            alpha: config.alpha,
            amount: f64::INFINITY,
            decay: decay(n),
            place: 0,
            rice: Rice::new(n as u64),
            writer: Writer::default(),
        }
    }

    /// Refines one weight. Returns whether there was one to refine.
    fn step(&mut self) -> bool {
        self.sort_out();
        if self.large.is_empty() {
            if !self.refresh() {
                return false;
            }
            self.sort_out();
        }
        let after = self.large.range(self.place as usize..).next();
        let Some(&place) = after.or_else(|| self.large.first()) else {
            return false;
        };
        let gap = self.walk.gap(self.place, place as u64);
        self.writer.event(Event::Gap(gap), &mut self.rice);
        if !self.refined[place] {
            self.writer.bit(self.negative[place]);
            self.refined[place] = true;
            self.nonzero += 1;
        }
        self.residuals[place] -= self.amount;
        self.large.remove(&place);
        self.small.push((self.residuals[place].to_bits(), place));
        self.amount *= self.decay;
        self.place = self.walk.behind(place as u64, 1);
        true
    }

    /// Moves the places whose residuals are larger than the amount.
    fn sort_out(&mut self) {
        while let Some((size, place)) = self.small.peek().copied()
            && f64::from_bits(size) > self.amount
        {
            self.small.pop();
            self.large.insert(place);
        }
    }

    /// Sets the amount below the largest residual. Returns whether that is not negligible.
    fn refresh(&mut self) -> bool {
        let largest = self.small.peek().map_or(0.0, |top| f64::from_bits(top.0));
        if largest < NEGLIGIBLE {
            return false;
        }
        let mean = self.residuals.iter().sum::<f64>() / self.residuals.len() as f64;
        let mut amount = (self.alpha * mean) as f32;
        while f64::from(amount) >= largest {
            self.alpha *= ALPHA_DECAY;
            amount = (self.alpha * mean) as f32;
        }
        self.amount = f64::from(amount);
        self.writer.event(Event::Amount(amount), &mut self.rice);
        true
    }
}
