//! Lossless coding of f32 values by byte planes.
//!
//! Each value is rotated left by one bit, so that the highest byte is the exponent and the sign
//! is the lowest bit. The bytes of equal significance form a plane. The exponents of trained
//! weights take about 3 bits; the other planes are nearly random, and are stored as they are if
//! no coder makes them smaller.

use crate::CodecError;
use crate::deflate::{deflate, inflate};
use crate::entropy::{Coder, Corrupt, Decoder, Encoder, Model};
use crate::wire::{Reader, write_number};

/// How a plane is stored. The numbers are part of the format.
const STORED: u8 = 0;
const DEFLATED: u8 = 1;
/// By the frequency of each byte, learnt while coding.
const ORDER_0: u8 = 2;

/// Appends values.
pub(crate) fn write(to: &mut Vec<u8>, values: &[f32]) {
    for plane in (0..4).rev() {
        let byte = |value: &f32| value.to_bits().rotate_left(1).to_le_bytes()[plane];
        let bytes: Vec<u8> = values.iter().map(byte).collect();
        let coded = [
            (ORDER_0, encode(&bytes)),
            (DEFLATED, deflate(&bytes)),
            (STORED, bytes),
        ];
        if let Some((how, coded)) = coded.into_iter().min_by_key(|(_, coded)| coded.len()) {
            to.push(how);
            write_number(to, coded.len() as u64);
            to.extend(coded);
        }
    }
}

/// Reads `count` values.
///
/// # Errors
/// [`CodecError::Damaged`] at `place` for bytes that are not those of [`write()`].
pub(crate) fn read(reader: &mut Reader, place: &str, count: usize) -> Result<Vec<f32>, CodecError> {
    let mut planes = Vec::new();
    for _ in 0..4 {
        let [how] = reader.array()?;
        let len = reader.size()?;
        let coded = reader.part(len)?;
        planes.push(match how {
            STORED if len == count => coded.to_vec(),
            DEFLATED => inflate(place, coded, count)?,
            ORDER_0 => decode(coded, count).map_err(|corrupt| corrupt.at(place))?,
            _ => return Err(CodecError::damaged(place, "its coding is unknown")),
        });
    }
    let value = |index: usize| {
        let bytes = [0, 1, 2, 3].map(|plane: usize| planes[plane][index]);
        f32::from_bits(u32::from_be_bytes(bytes).rotate_right(1))
    };
    Ok((0..count).map(value).collect())
}

/// Codes a byte from its highest bit, each by the bits above it.
fn code(coder: &mut impl Coder, models: &mut [Model; 256], byte: u8) -> Result<u8, Corrupt> {
    let mut coded = 1_usize;
    for bit in (0..8).rev() {
        let bit = coder.decide(&mut models[coded], byte >> bit & 1 == 1)?;
        coded = coded << 1 | usize::from(bit);
    }
    Ok(coded as u8)
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut models = [Model::NEW; 256];
    for byte in bytes {
        // Writing does not fail: every decision has a probability.
        if code(&mut encoder, &mut models, *byte).is_err() {
            break;
        }
    }
    encoder.finish()
}

fn decode(bytes: &[u8], count: usize) -> Result<Vec<u8>, Corrupt> {
    let mut decoder = Decoder::new(bytes);
    let mut models = [Model::NEW; 256];
    (0..count)
        .map(|_| code(&mut decoder, &mut models, 0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_come_back_bit_by_bit(bits in proptest::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, &values);
            let mut reader = Reader::new("a test", &bytes);
            let restored = read(&mut reader, "a test", values.len()).unwrap();
            prop_assert_eq!(reader.left(), 0);
            let restored: Vec<u32> = restored.into_iter().map(f32::to_bits).collect();
            prop_assert_eq!(restored, bits);
        }
    }

    #[test]
    fn exponents_are_compressed() {
        let values: Vec<f32> = (1..=4096).map(|i| (i as f32 * 0.37).sin() * 0.05).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &values);
        assert!(bytes.len() < values.len() * 7 / 2, "{}", bytes.len());
    }
}
