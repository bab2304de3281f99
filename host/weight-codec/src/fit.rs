//! The numbers of bits that lose the least within a budget of bytes.

use std::ops::Range;

use crate::container::content_len;
use crate::{Bits, CodecError, Quantized, Quantizer, Storage, Stored, Tensor, pack};

/// Times that the choice is repeated with a smaller budget, because a size was an estimate.
const ATTEMPTS: usize = 16;

/// A weight tensor whose bits [`fit`] chooses.
#[derive(Clone, Copy)]
pub struct FitTensor<'a> {
    /// The tensor.
    pub tensor: Tensor<'a>,
    /// The first of its bytes in the file.
    pub offset: usize,
    /// How to quantise it. Its errors are what [`fit`] lowers.
    pub quantizer: &'a dyn Quantizer,
    /// Factor of its error, at least 0, which makes the errors of layers comparable: for example
    /// 1 divided by the squares of the layer's outputs.
    pub weight: f64,
    /// Its bits, if they are given.
    pub bits: Option<Bits>,
}

/// Settings of [`fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitConfig {
    /// The most bytes of the container.
    pub bytes: usize,
    /// Bits of the first and the last tensor, if theirs are not given. `None` leaves them to be
    /// chosen. These layers are small, and the most sensitive.
    pub ends: Option<Bits>,
}

impl FitConfig {
    /// A budget, with 8 bits for the first and the last tensor.
    pub fn new(bytes: usize) -> Self {
        Self {
            bytes,
            ends: Some(Bits::MAX),
        }
    }
}

/// A file packed within a budget.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The container.
    pub packed: Vec<u8>,
    /// The quantised tensors, in the order given.
    pub tensors: Vec<Quantized>,
    /// Sum of the weighted errors.
    pub error: f64,
}

/// Packs a file into at most so many bytes, with the bits per tensor that lose the least. The
/// tensors are in the order of the network; `others` are stored as they say.
///
/// From the fewest bits, the tensor with the largest reduction of the weighted error per byte
/// takes more bits, until no step fits. Where the errors are convex in the bytes, this is the
/// optimum of the budget that is used (Shoham and Gersho, 1988).
///
/// ```
/// use weight_codec::{Fit, FitConfig, FitTensor, Nearest, Tensor, fit};
///
/// let weights: Vec<f32> = (0..4096).map(|i| (i as f32 * 1.7).sin().powi(3)).collect();
/// let file: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
/// let tensors = [0, 1, 2, 3].map(|layer| FitTensor {
///     tensor: Tensor {
///         name: "layer",
///         values: &weights[layer * 1024..][..1024],
///         dims: &[16, 64],
///         channel_axis: 0,
///     },
///     offset: layer * 4096,
///     quantizer: &Nearest,
///     weight: 1.0,
///     bits: None,
/// });
/// let Fit { packed, tensors, .. } = fit(&file, &tensors, &[], &FitConfig::new(3000))?;
/// assert!(packed.len() <= 3000);
/// assert_eq!(tensors[0].bits().get(), 8);
/// # Ok::<(), weight_codec::CodecError>(())
/// ```
///
/// # Errors
/// [`CodecError::Unreachable`] with the smallest size; those of the quantisers and of [`pack`];
/// [`CodecError::Tensor`] for a weight that is negative or not finite.
pub fn fit(
    file: &[u8],
    tensors: &[FitTensor],
    others: &[Stored],
    config: &FitConfig,
) -> Result<Fit, CodecError> {
    let mut options = Vec::with_capacity(tensors.len());
    for (index, tensor) in tensors.iter().enumerate() {
        let is_end = index == 0 || index + 1 == tensors.len();
        let bits = tensor.bits.or(config.ends.filter(|_| is_end));
        options.push(options_of(tensor, bits)?);
    }
    let packed = |choice: &[usize]| {
        let chosen = tensors.iter().zip(&options).zip(choice);
        let stored = chosen.map(|((tensor, options), choice)| Stored {
            name: tensor.tensor.name,
            range: range(tensor),
            storage: Storage::Quantized(&options[*choice].quantized),
        });
        pack(
            file,
            &stored.chain(others.iter().cloned()).collect::<Vec<_>>(),
        )
    };

    let least = vec![0; tensors.len()];
    let mut bytes = packed(&least)?;
    let mut choice = least;
    if bytes.len() > config.bytes {
        return Err(CodecError::Unreachable {
            limit: config.bytes,
            smallest: bytes.len(),
        });
    }
    let smallest = bytes.len();
    let mut room = config.bytes - smallest;
    for _ in 0..ATTEMPTS {
        let candidate = choose(&options, room);
        let of_candidate = packed(&candidate)?;
        let Some(excess) = of_candidate.len().checked_sub(config.bytes + 1) else {
            (bytes, choice) = (of_candidate, candidate);
            break;
        };
        room = room.saturating_sub(excess + 1);
    }
    let chosen = options.iter_mut().zip(&choice);
    let chosen: Vec<Candidate> = chosen.map(|(of, choice)| of.swap_remove(*choice)).collect();
    Ok(Fit {
        packed: bytes,
        error: chosen.iter().map(|option| option.error).sum(),
        tensors: chosen.into_iter().map(|option| option.quantized).collect(),
    })
}

/// A tensor with one number of bits.
struct Candidate {
    quantized: Quantized,
    /// Its bytes in the container, about.
    bytes: usize,
    /// Weighted.
    error: f64,
}

fn range(tensor: &FitTensor) -> Range<usize> {
    // A range that overflows is refused when packing, since it is empty.
    tensor.offset..tensor.offset.saturating_add(tensor.tensor.values.len() * 4)
}

/// Quantises a tensor with all numbers of bits, or the given one.
fn options_of(tensor: &FitTensor, bits: Option<Bits>) -> Result<Vec<Candidate>, CodecError> {
    let FitTensor {
        tensor: values,
        quantizer,
        weight,
        ..
    } = tensor;
    if !(*weight >= 0.0 && weight.is_finite()) {
        let reason = format!("its weight must be at least 0, not {weight}");
        return Err(CodecError::tensor(values.name, reason));
    }
    let admitted = Bits::all().filter(|of| bits.is_none_or(|bits| bits == *of));
    let options = admitted.map(|bits| {
        let quantized = quantizer.quantize(values, bits)?;
        Ok(Candidate {
            bytes: content_len(&quantized),
            error: weight * quantizer.error(values, &quantized)?,
            quantized,
        })
    });
    options.collect()
}

/// Returns the index of an option for each tensor, with at most `room` bytes more than the first
/// options take.
fn choose(options: &[Vec<Candidate>], mut room: usize) -> Vec<usize> {
    let mut choice = vec![0; options.len()];
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for (tensor, options) in options.iter().enumerate() {
            let now = &options[choice[tensor]];
            for (index, option) in options.iter().enumerate().skip(choice[tensor] + 1) {
                let more = option.bytes.saturating_sub(now.bytes);
                let gain = (now.error - option.error) / more.max(1) as f64;
                if more <= room && gain > best.map_or(0.0, |best| best.0) {
                    best = Some((gain, tensor, index));
                }
            }
        }
        let Some((_, tensor, index)) = best else {
            return choice;
        };
        let now = options[tensor][choice[tensor]].bytes;
        room -= options[tensor][index].bytes.saturating_sub(now);
        choice[tensor] = index;
    }
}
