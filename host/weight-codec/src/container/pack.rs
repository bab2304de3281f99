//! Packing.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::table::{Entry, Kind};
use super::{MAGIC, VERSION, fill};
use crate::deflate::deflate;
use crate::surp::SurpDecoder;
use crate::wire::write_number;
use crate::{CodecError, Limits, Quantized, integers, planes};

/// A weight tensor within the file, and how to store it.
#[derive(Clone, Debug)]
pub struct Stored<'a> {
    /// Name, for errors when packing and unpacking.
    pub name: &'a str,
    /// Its bytes in the file: f32 values, little endian. Ranges may be in any order.
    pub range: Range<usize>,
    /// How to store it.
    pub storage: Storage<'a>,
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug)]
pub enum Storage<'a> {
    /// Bit by bit.
    Lossless,
    /// As integers and scales; the unpacked file has [`Quantized::values`].
    Quantized(&'a Quantized),
    /// In the stream given to [`pack_refined`]; the unpacked file has the stream's values.
    Refined,
}

/// Packs a file. [`unpack`](crate::unpack()) restores it with the values of the stored tensors;
/// all other bytes come back as they are.
///
/// ```
/// use weight_codec::{Bits, Limits, Nearest, Quantizer, Storage, Stored, Tensor, pack, unpack};
///
/// let weights: Vec<f32> = (0..64).map(|i| (i as f32).sin()).collect();
/// let mut file = b"header".to_vec();
/// file.extend(weights.iter().flat_map(|weight| weight.to_le_bytes()));
/// let tensor = Tensor {
///     name: "conv.weight",
///     values: &weights,
///     dims: &[4, 16],
///     channel_axis: 0,
/// };
/// let quantized = Nearest.quantize(&tensor, Bits::new(4)?)?;
/// let packed = pack(
///     &file,
///     &[Stored {
///         name: tensor.name,
///         range: 6..file.len(),
///         storage: Storage::Quantized(&quantized),
///     }],
/// )?;
/// let unpacked = unpack(&packed, &Limits::default())?;
/// assert_eq!(unpacked.len(), file.len());
/// assert_eq!(unpacked[6..10], quantized.values()[0].to_le_bytes());
/// # Ok::<(), weight_codec::CodecError>(())
/// ```
///
/// # Errors
/// [`CodecError::Tensor`] for a range that is empty, outside of the file, not a multiple of 4
/// bytes or not of the storage's size; for ranges that overlap; and for a refined tensor.
pub fn pack(file: &[u8], tensors: &[Stored]) -> Result<Vec<u8>, CodecError> {
    pack_refined(file, tensors, &[])
}

/// Packs a file whose refined tensors are those of a stream of successive refinement, in the
/// order of their ranges. The stream is the end of the container, so that any prefix that reaches
/// into it unpacks ([`unpack_prefix`](crate::unpack_prefix)).
///
/// # Errors
/// Those of [`pack`]; [`CodecError::Tensor`] if the stream has another number of tensors or
/// values; [`CodecError::Damaged`] for an invalid stream.
pub fn pack_refined(file: &[u8], tensors: &[Stored], stream: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut sorted: Vec<&Stored> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| tensor.range.start);
    let mut unpacked = file.to_vec();
    let mut rest = Vec::new();
    let (mut table, mut scales, mut contents) = (Vec::new(), Vec::new(), Vec::new());
    let mut end = 0;
    for tensor in &sorted {
        let kind = checked(tensor, file)?;
        let Range { start, end: next } = tensor.range;
        let Some(gap) = start.checked_sub(end) else {
            return Err(CodecError::tensor(
                tensor.name,
                "its range overlaps another",
            ));
        };
        rest.extend(&file[end..start]);
        let name = tensor.name;
        Entry { name, gap, kind }.write(&mut table);
        write_content(&mut contents, tensor, file);
        match tensor.storage {
            Storage::Lossless => {}
            Storage::Quantized(quantized) => {
                scales.extend(quantized.scales());
                fill(&mut unpacked[start..next], &quantized.values());
            }
            Storage::Refined => unpacked[start..next].fill(0),
        }
        end = next;
    }
    rest.extend(&file[end..]);

    let base = Sha256::digest(&unpacked);
    refine(&mut unpacked, &sorted, stream)?;
    let (rest_len, table_len) = (rest.len(), table.len());
    rest.append(&mut table);
    let control = deflate(&rest);

    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend(Sha256::digest(&unpacked));
    let parts = [rest_len, table_len, control.len(), stream.len()];
    for len in [file.len()].into_iter().chain(parts) {
        write_number(&mut bytes, len as u64);
    }
    if !stream.is_empty() {
        bytes.extend(base);
    }
    bytes.extend(control);
    planes::write(&mut bytes, &scales);
    bytes.extend(contents);
    bytes.extend(stream);
    Ok(bytes)
}

/// Bytes of a quantised tensor's integers and, about, its scales.
pub(crate) fn content_len(quantized: &Quantized) -> usize {
    let mut bytes = Vec::new();
    write_integers(&mut bytes, quantized);
    // A scale has 8 bits of exponent and 7 of mantissa; the exponents are compressed.
    bytes.len() + quantized.scales().len() * 3 / 2
}

/// Returns the kind of a tensor whose range fits its storage and the file.
fn checked(tensor: &Stored, file: &[u8]) -> Result<Kind, CodecError> {
    let refuse = |reason: String| CodecError::tensor(tensor.name, reason);
    let Range { start, end } = tensor.range;
    if start >= end || end > file.len() {
        let len = file.len();
        return Err(refuse(format!(
            "the range {start}..{end} is not within the file of {len} bytes"
        )));
    }
    let count = (end - start) / 4;
    let kind = match tensor.storage {
        Storage::Lossless => Kind::Lossless { count },
        Storage::Refined => Kind::Refined { count },
        Storage::Quantized(quantized) => Kind::Quantized {
            bits: quantized.bits(),
            layout: quantized.layout(),
        },
    };
    if (end - start) % 4 != 0 || kind.count() != count {
        let (len, values) = (end - start, kind.count());
        return Err(refuse(format!(
            "a range of {len} bytes does not hold {values} values"
        )));
    }
    Ok(kind)
}

fn write_content(to: &mut Vec<u8>, tensor: &Stored, file: &[u8]) {
    match tensor.storage {
        Storage::Lossless => {
            let (values, _) = file[tensor.range.clone()].as_chunks();
            let values: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
            planes::write(to, &values);
        }
        Storage::Quantized(quantized) => write_integers(to, quantized),
        Storage::Refined => {}
    }
}

fn write_integers(to: &mut Vec<u8>, quantized: &Quantized) {
    let code = integers::encode(quantized.integers(), quantized.bits());
    write_number(to, code.len() as u64);
    to.extend(code);
}

/// Fills the ranges of the refined tensors with the values of the stream.
fn refine(file: &mut [u8], tensors: &[&Stored], stream: &[u8]) -> Result<(), CodecError> {
    let refined = tensors.iter();
    let mut refined = refined.filter(|tensor| matches!(tensor.storage, Storage::Refined));
    let values = if stream.is_empty() {
        Vec::new()
    } else {
        // The stream was made here, so that its size is admitted.
        let limits = Limits {
            declared: usize::MAX,
        };
        let mut decoder = SurpDecoder::new(stream, &limits)?;
        while decoder.advance()? {}
        decoder.tensors()
    };
    for values in values {
        let fits = |tensor: &&&Stored| tensor.range.len() == values.len() * 4;
        let Some(tensor) = refined.next().filter(fits) else {
            let reason = format!("no refined tensor is left for its {} values", values.len());
            return Err(CodecError::tensor("of the stream", reason));
        };
        fill(&mut file[tensor.range.clone()], &values);
    }
    match refined.next() {
        None => Ok(()),
        Some(tensor) => Err(CodecError::tensor(tensor.name, "it is not in the stream")),
    }
}
