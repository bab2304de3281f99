//! Adaptive binary range coding.
//!
//! The range coder is constriction's (Bamler, 2022); the models are here. A model is the
//! probability of one binary decision as an integer that follows the decisions coded, so that
//! encoder and decoder agree on every platform.

use constriction::backends::Cursor;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};
use std::borrow::Borrow;
use std::num::NonZeroU16;

use crate::CodecError;

/// Bits of a probability.
const PRECISION: usize = 16;
/// The least probability, so that no decision costs more than 11 bits.
const LEAST: u16 = 32;
/// Decisions after which a model stops averaging over all, and forgets the oldest instead.
const MEMORY: u16 = 254;

/// Probability of a binary decision, learnt from those coded so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// Probability of `true`, in units of `2^-16`.
    of_true: u16,
    /// Decisions seen, at most [`MEMORY`].
    seen: u16,
}

impl Model {
    /// The model before the first decision.
    pub const NEW: Self = Self {
        of_true: 1 << (PRECISION - 1),
        seen: 0,
    };

    /// Follows a decision: the estimate of Krichevsky and Trofimov, `(count + 1/2) / (seen + 1)`.
    fn learn(&mut self, decision: bool) {
        let target = if decision { 1 << PRECISION } else { 0 };
        let old = i32::from(self.of_true);
        let new = (old + (target - old) / (i32::from(self.seen) + 2))
            .clamp(i32::from(LEAST), (1 << PRECISION) - i32::from(LEAST));
        self.of_true = new as u16;
        self.seen = (self.seen + 1).min(MEMORY);
    }
}

impl EntropyModel<PRECISION> for Model {
    type Symbol = bool;
    type Probability = u16;
}

impl EncoderModel<PRECISION> for Model {
    fn left_cumulative_and_probability(
        &self,
        decision: impl Borrow<bool>,
    ) -> Option<(u16, NonZeroU16)> {
        let (left, probability) = match decision.borrow() {
            true => (0, self.of_true),
            false => (self.of_true, self.of_true.wrapping_neg()),
        };
        Some((left, NonZeroU16::new(probability)?))
    }
}

impl DecoderModel<PRECISION> for Model {
    fn quantile_function(&self, quantile: u16) -> (bool, u16, NonZeroU16) {
        let decision = quantile < self.of_true;
        // Both probabilities are at least LEAST.
        let (left, probability) = self
            .left_cumulative_and_probability(decision)
            .unwrap_or((0, NonZeroU16::MIN));
        (decision, left, probability)
    }
}

/// Codes binary decisions: writes them, or reads them.
pub(crate) trait Coder {
    /// Codes a decision. An encoder writes and returns `decision`; a decoder ignores it and
    /// returns the one read.
    ///
    /// # Errors
    /// [`Corrupt`] if the decoder's bytes are not an encoder's.
    fn decide(&mut self, model: &mut Model, decision: bool) -> Result<bool, Corrupt>;
}

/// The bytes are not those of an encoder.
#[derive(Debug)]
pub(crate) struct Corrupt;

impl Corrupt {
    /// The error that names the part of the container.
    pub fn at(self, place: &str) -> CodecError {
        CodecError::damaged(place, "its code is invalid")
    }
}

/// Writes decisions.
#[derive(Default)]
pub(crate) struct Encoder {
    coder: DefaultRangeEncoder,
}

impl Encoder {
    /// Returns the bytes. Zeros at the end are left out; the decoder replaces them.
    pub fn finish(self) -> Vec<u8> {
        let words = match self.coder.into_compressed() {
            Ok(words) => words,
            Err(never) => match never {},
        };
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes
    }
}

impl Coder for Encoder {
    fn decide(&mut self, model: &mut Model, decision: bool) -> Result<bool, Corrupt> {
        self.coder
            .encode_symbol(decision, *model)
            .map_err(|_| Corrupt)?;
        model.learn(decision);
        Ok(decision)
    }
}

/// Reads decisions.
pub(crate) struct Decoder {
    coder: DefaultRangeDecoder<Cursor<u32, Vec<u32>>>,
}

impl Decoder {
    pub fn new(bytes: &[u8]) -> Self {
        let word = |bytes: &[u8]| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            u32::from_be_bytes(word)
        };
        let words: Vec<u32> = bytes.chunks(4).map(word).collect();
        let coder = match DefaultRangeDecoder::from_compressed(words) {
            Ok(coder) => coder,
            Err(never) => match never {},
        };
        Self { coder }
    }
}

impl Coder for Decoder {
    fn decide(&mut self, model: &mut Model, _: bool) -> Result<bool, Corrupt> {
        let decision = self.coder.decode_symbol(*model).map_err(|_| Corrupt)?;
        model.learn(decision);
        Ok(decision)
    }
}
