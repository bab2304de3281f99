//! Unpacking.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::table::{Entry, Kind};
use super::{DIGEST, MAGIC, VERSION, fill};
use crate::deflate::inflate;
use crate::surp::SurpDecoder;
use crate::tensor::restored;
use crate::wire::Reader;
use crate::{CodecError, Limits, integers, planes};

/// A file unpacked from a prefix of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefix {
    /// The file, with the weights refined so far.
    pub file: Vec<u8>,
    /// Whether the prefix is the whole container.
    pub complete: bool,
}

/// Restores the file of a container. See [`pack`](crate::pack()) for an example.
///
/// # Errors
/// [`CodecError::Damaged`] for bytes that are not a whole, unchanged container: the restored file
/// is compared with its checksum. [`CodecError::TooLarge`] above the limits.
pub fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, CodecError> {
    let prefix = unpack_prefix(bytes, limits)?;
    if prefix.complete {
        Ok(prefix.file)
    } else {
        Err(CodecError::damaged("the refinement", "it is truncated"))
    }
}

/// Restores the file of a container of [`pack_refined`](crate::pack_refined) that may be cut
/// within the refinement. The weights are those refined so far.
///
/// # Errors
/// Those of [`unpack`]; [`CodecError::Damaged`] if the prefix ends before the refinement's steps.
pub fn unpack_prefix(bytes: &[u8], limits: &Limits) -> Result<Prefix, CodecError> {
    let mut reader = Reader::new("the header", bytes);
    if reader.array()? != MAGIC {
        return Err(reader.damaged("it is not a container of weights"));
    }
    let [version] = reader.array()?;
    if version != VERSION {
        return Err(reader.damaged(format!("its version is {version}, not {VERSION}")));
    }
    let digest: [u8; DIGEST] = reader.array()?;
    let sizes = Sizes {
        file: reader.size()?,
        rest: reader.size()?,
        table: reader.size()?,
    };
    limits.check(sizes.file.checked_add(sizes.table))?;
    let control_len = reader.size()?;
    let stream_len = reader.size()?;
    let base: [u8; DIGEST] = match stream_len {
        0 => digest,
        _ => reader.array()?,
    };
    let control = Control::new(reader.part(control_len)?, sizes)?;

    let mut reader = reader.at("the contents");
    let (mut file, refined) = control.restore(&mut reader)?;
    if *Sha256::digest(&file) != base {
        return Err(CodecError::damaged("the file", "its checksum differs"));
    }
    let complete = reader.left() == stream_len;
    if reader.left() > stream_len {
        return Err(reader.damaged("bytes are left"));
    }
    if stream_len == 0 {
        return Ok(Prefix { file, complete });
    }
    let stream = reader.part(reader.left())?;
    refine(&mut file, &refined, (stream, limits))?;
    if complete && *Sha256::digest(&file) != digest {
        let reason = "the checksum of the file differs";
        return Err(CodecError::damaged("the refinement", reason));
    }
    Ok(Prefix { file, complete })
}

/// Lengths in bytes, within the limits.
#[derive(Clone, Copy)]
struct Sizes {
    file: usize,
    /// The file without its tensors.
    rest: usize,
    table: usize,
}

/// The control part.
struct Control {
    /// The file without its tensors, then the table.
    bytes: Vec<u8>,
    sizes: Sizes,
}

impl Control {
    /// Decompresses the part, and checks that rest and tensors are as large as the file.
    fn new(bytes: &[u8], sizes: Sizes) -> Result<Self, CodecError> {
        let unfit = || CodecError::damaged("the table", "it does not fit the file");
        if sizes.rest > sizes.file {
            return Err(unfit());
        }
        let bytes = inflate("the control part", bytes, sizes.rest + sizes.table)?;
        let control = Self { bytes, sizes };
        let mut left = sizes.file - sizes.rest;
        control.each(|entry| {
            // Each tensor alone fits the file, so that the product does not overflow.
            left = left.checked_sub(entry.kind.count() * 4).ok_or_else(unfit)?;
            Ok(())
        })?;
        match left {
            0 => Ok(control),
            _ => Err(unfit()),
        }
    }

    /// Calls a function for each tensor.
    fn each(
        &self,
        mut call: impl FnMut(Entry) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        let mut reader = Reader::new("the table", &self.bytes[self.sizes.rest..]);
        while reader.left() > 0 {
            call(Entry::read(&mut reader, self.sizes.file)?)?;
        }
        Ok(())
    }

    /// Returns the file and the ranges of the refined tensors, which are zero.
    fn restore(&self, reader: &mut Reader) -> Result<(Vec<u8>, Vec<Range<usize>>), CodecError> {
        let mut channels = 0;
        self.each(|entry| {
            channels += entry.kind.scales();
            Ok(())
        })?;
        let scales = planes::read(reader, "the scales", channels)?;
        let mut scales = scales.as_slice();
        let mut rest = Reader::new("the table", &self.bytes[..self.sizes.rest]);
        let mut file = Vec::new();
        let mut refined = Vec::new();
        self.each(|entry| {
            file.extend(rest.part(entry.gap)?);
            let start = file.len();
            let count = entry.kind.count();
            let mut here = reader.at(entry.name);
            match entry.kind {
                Kind::Lossless { .. } => {
                    let values = planes::read(&mut here, entry.name, count)?;
                    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                }
                Kind::Refined { .. } => {
                    file.resize(start + count * 4, 0);
                    refined.push(start..file.len());
                }
                Kind::Quantized { bits, layout } => {
                    let (own, others) = scales.split_at(layout.channels);
                    scales = others;
                    let len = here.size()?;
                    let code = integers::decode(here.part(len)?, bits);
                    for (index, integer) in code.take(count).enumerate() {
                        let integer = integer.map_err(|corrupt| corrupt.at(entry.name))?;
                        let value = restored(integer, own[layout.channel(index)]);
                        file.extend(value.to_le_bytes());
                    }
                }
            }
            reader.advance_to(&here)
        })?;
        file.extend(rest.part(rest.left())?);
        Ok((file, refined))
    }
}

/// Fills the refined tensors with the values of the stream.
fn refine(
    file: &mut [u8],
    refined: &[Range<usize>],
    (stream, limits): (&[u8], &Limits),
) -> Result<(), CodecError> {
    let mut decoder = SurpDecoder::new(stream, limits)?;
    let fits = decoder
        .counts()
        .eq(refined.iter().map(|range| range.len() / 4));
    if !fits {
        let reason = "its tensors are not those of the table";
        return Err(CodecError::damaged("the refinement", reason));
    }
    while decoder.advance()? {}
    for (range, values) in refined.iter().zip(decoder.tensors()) {
        fill(&mut file[range.clone()], &values);
    }
    Ok(())
}
