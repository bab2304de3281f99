//! Numbers and parts in bytes.

use crate::CodecError;

/// Appends a number in groups of 7 bits, least significant first.
pub(crate) fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads numbers and parts.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    /// What is read, for errors.
    place: &'a str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(place: &'a str, bytes: &'a [u8]) -> Self {
        Self { place, bytes }
    }

    /// Returns a reader of the same bytes that names another place.
    pub fn at<'b>(&self, place: &'b str) -> Reader<'b>
    where
        'a: 'b,
    {
        Reader {
            place,
            bytes: self.bytes,
        }
    }

    /// Skips what a reader of [`Self::at`] has read.
    ///
    /// # Errors
    /// None for such a reader.
    pub fn advance_to(&mut self, other: &Reader) -> Result<(), CodecError> {
        self.part(self.left().saturating_sub(other.left()))?;
        Ok(())
    }

    /// Number of bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    pub fn damaged(&self, reason: impl Into<String>) -> CodecError {
        CodecError::damaged(self.place, reason)
    }

    /// Reads some bytes.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] if there are fewer.
    pub fn part(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (part, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or_else(|| self.damaged("it is truncated"))?;
        self.bytes = rest;
        Ok(part)
    }

    /// Reads an array.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] if there are fewer bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.part(N)?);
        Ok(array)
    }

    /// Reads a number of [`write_number`].
    ///
    /// # Errors
    /// [`CodecError::Damaged`] for one of more than 64 bits.
    pub fn number(&mut self) -> Result<u64, CodecError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.damaged("a number is too large"))
    }

    /// Reads a number of things that are in memory.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] for a number larger than memory.
    pub fn size(&mut self) -> Result<usize, CodecError> {
        usize::try_from(self.number()?).map_err(|_| self.damaged("a size is too large"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_longer_ones_are_refused() {
        for number in [0, 1, 127, 128, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut reader = Reader::new("a test", &bytes);
            assert_eq!(reader.number().unwrap(), number);
            assert_eq!(reader.left(), 0);
        }
        for bytes in [&[0xff; 10][..], &[0xff; 3], &[]] {
            assert!(Reader::new("a test", bytes).number().is_err());
        }
    }
}
