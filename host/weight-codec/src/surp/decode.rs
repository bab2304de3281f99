//! Decoding of a stream, or of any prefix.

use super::bits::{Event, Reader, Rice};
use super::walk::Walk;
use super::{MAGIC, VERSION, decay};
use crate::{CodecError, Limits, wire};

const PLACE: &str = "the refinement";
/// What a step leaves of its amount, on average. Amounts fall by about a tenth from one refresh
/// to the next, so that a residual is up to a ninth larger than its amount.
const REMAINDER: f64 = 0.05;

/// Decodes a stream of [`surp_encode`](crate::surp_encode) step by step. A prefix decodes like
/// the stream, up to its last whole step; only the header must be there.
///
/// ```
/// use weight_codec::{Limits, SurpConfig, SurpDecoder, SurpStop, Tensor, surp_encode};
///
/// let weights: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin().powi(5)).collect();
/// let tensor = Tensor {
///     name: "conv.weight",
///     values: &weights,
///     dims: &[10, 100],
///     channel_axis: 0,
/// };
/// let config = SurpConfig {
///     stop: SurpStop::Density(0.5),
///     ..SurpConfig::default()
/// };
/// let stream = surp_encode(&[tensor], &config)?;
///
/// // The prefix with a tenth of the weights.
/// let mut decoder = SurpDecoder::new(&stream, &Limits::default())?;
/// while decoder.density() < 0.1 && decoder.advance()? {}
/// let prefix = &stream[..decoder.len()];
///
/// let mut again = SurpDecoder::new(prefix, &Limits::default())?;
/// while again.advance()? {}
/// assert_eq!(again.tensors(), decoder.tensors());
/// assert_eq!(again.density(), 0.1);
/// # Ok::<(), weight_codec::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SurpDecoder<'a> {
    tensors: Vec<Header>,
    walk: Walk,
    decay: f64,
    header_len: usize,
    reader: Reader<'a>,
    rice: Rice,
    /// Sums of the amounts of each normalised weight.
    values: Vec<f64>,
    /// The last amount of each.
    last: Vec<f32>,
    nonzero: usize,
    amount: f64,
    place: u64,
    /// Bytes up to the last whole step.
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    count: usize,
    norm: f32,
}

impl<'a> SurpDecoder<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] for a header that is invalid or cut; [`CodecError::TooLarge`].
    pub fn new(stream: &'a [u8], limits: &Limits) -> Result<Self, CodecError> {
        let mut reader = wire::Reader::new(PLACE, stream);
        if reader.array()? != MAGIC {
            return Err(reader.damaged("it is not a stream of successive refinement"));
        }
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(reader.damaged(format!("its version is {version}, not {VERSION}")));
        }
        let seed = u64::from_le_bytes(reader.array()?);
        let mut tensors = Vec::new();
        let mut n = Some(0_usize);
        for _ in 0..reader.number()? {
            let count = reader.size()?;
            let norm = f32::from_le_bytes(reader.array()?);
            n = n.and_then(|n| n.checked_add(count));
            tensors.push(Header { count, norm });
        }
        let header = &stream[..stream.len() - reader.left()];
        if u32::from_le_bytes(reader.array()?) != crc32c::crc32c(header) {
            return Err(reader.damaged("the checksum of its header differs"));
        }
        limits.check(n.and_then(|n| n.checked_mul(size_of::<f64>() + size_of::<f32>())))?;
        let n = n.unwrap_or(0);
        let usable = |tensor: &Header| tensor.norm >= 0.0 && tensor.norm.is_finite();
        if n == 0 || !tensors.iter().all(usable) {
            return Err(reader.damaged("its header is invalid"));
        }
        let header_len = stream.len() - reader.left();
        Ok(Self {
            tensors,
            walk: Walk::new(n as u64, seed),
            decay: decay(n),
            header_len,
            reader: Reader::new(&stream[header_len..]),
            rice: Rice::new(n as u64),
            values: vec![0.0; n],
            last: vec![0.0; n],
            nonzero: 0,
            amount: 0.0,
            place: 0,
            len: header_len,
        })
    }

    /// Decodes one step. Returns whether there was one; otherwise the stream or prefix ends.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] for a step that no encoder takes.
    pub fn advance(&mut self) -> Result<bool, CodecError> {
        loop {
            match self.reader.event(&mut self.rice) {
                None => return Ok(false),
                Some(Event::Amount(amount)) => {
                    let amount = f64::from(amount);
                    // A normalised weight is at most 1, and so is an amount.
                    if !(amount > 0.0 && amount <= 1.0) {
                        return Err(CodecError::damaged(PLACE, "an amount is invalid"));
                    }
                    self.amount = amount;
                }
                Some(Event::Gap(gap)) => return self.step(gap),
            }
        }
    }

    fn step(&mut self, gap: u64) -> Result<bool, CodecError> {
        let damaged = |reason: &str| CodecError::damaged(PLACE, reason);
        if gap >= self.values.len() as u64 || self.amount == 0.0 {
            return Err(damaged("a step is invalid"));
        }
        let place = self.walk.behind(self.place, gap);
        let weight = self.walk.weight(place);
        let value = &mut self.values[weight];
        if *value == 0.0 {
            let Some(negative) = self.reader.bit() else {
                return Ok(false);
            };
            *value = if negative { -self.amount } else { self.amount };
            self.nonzero += 1;
        } else if *value < 0.0 {
            *value -= self.amount;
        } else {
            *value += self.amount;
        }
        // The norm of a tensor is rounded to f32.
        if value.abs() > 1.001 {
            return Err(damaged("a weight is larger than its tensor's norm"));
        }
        self.last[weight] = self.amount as f32;
        self.amount *= self.decay;
        self.place = self.walk.behind(place, 1);
        self.len = self.header_len + self.reader.len();
        Ok(true)
    }

    /// Number of weights of each tensor.
    pub fn counts(&self) -> impl Iterator<Item = usize> + '_ {
        self.tensors.iter().map(|tensor| tensor.count)
    }

    /// Length in bytes of the prefix that decodes to the steps so far.
    #[expect(clippy::len_without_is_empty, reason = "there is always a header")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Share of weights that are not zero, of 1.
    pub fn density(&self) -> f64 {
        self.nonzero as f64 / self.values.len() as f64
    }

    /// The weights refined so far, one list for each tensor in the order of encoding. What is
    /// left of a refined weight is estimated, unlike in the paper: otherwise all of them would be
    /// too small.
    pub fn tensors(&self) -> Vec<Vec<f32>> {
        let mut start = 0;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            let norm = f64::from(tensor.norm);
            let weights = start..start + tensor.count;
            let restored = weights.map(|weight| {
                let left = REMAINDER * f64::from(self.last[weight]);
                let size = (self.values[weight].abs() + left).min(1.0);
                (size.copysign(self.values[weight]) * norm) as f32
            });
            tensors.push(restored.collect());
            start += tensor.count;
        }
        tensors
    }
}
