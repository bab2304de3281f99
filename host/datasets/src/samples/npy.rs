//! NumPy's array files: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{Error, ErrorKind, Read};

/// Most bytes of a header; NumPy's own are below a thousand.
const MOST_HEADER: usize = 1 << 20;
/// Most elements of an array: four gigabytes of floats.
const MOST_ELEMENTS: usize = 1 << 30;

/// The type of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    class: u8,
    bytes: usize,
    big_endian: bool,
}

impl Kind {
    /// `<f4`, `|u1`, `>i8`.
    fn parse(text: &str) -> Option<Self> {
        let mut all = text.bytes();
        let order = all.next()?;
        let class = all.next()?;
        let bytes = text.get(2..)?.parse().ok()?;
        let known = match class {
            b'f' => matches!(bytes, 2 | 4 | 8),
            b'i' | b'u' => matches!(bytes, 1 | 2 | 4 | 8),
            b'b' => bytes == 1,
            _ => false,
        };
        (known && b"<>|=".contains(&order)).then_some(Self {
            class,
            bytes,
            big_endian: order == b'>',
        })
    }

    pub fn is_float(self) -> bool {
        self.class == b'f'
    }

    fn value(self, bytes: &[u8]) -> f32 {
        let mut word = [0u8; 8];
        for (to, &from) in word.iter_mut().zip(bytes) {
            *to = from;
        }
        if self.big_endian {
            word[..self.bytes].reverse();
        }
        let low = u64::from_le_bytes(word);
        match (self.class, self.bytes) {
            (b'f', 2) => half(low as u16),
            (b'f', 4) => f32::from_bits(low as u32),
            (b'f', _) => f64::from_bits(low) as f32,
            (b'i', 1) => f32::from(low as u8 as i8),
            (b'i', 2) => f32::from(low as u16 as i16),
            (b'i', 4) => (low as u32 as i32) as f32,
            (b'i', _) => (low as i64) as f32,
            (b'b', _) => f32::from(u8::from(low != 0)),
            _ => low as f32,
        }
    }
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

/// What the header of an array says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub shape: Vec<usize>,
    /// Bytes of the file before the first element.
    start: u64,
}

impl Header {
    /// Reads the header, and leaves `from` at the first element.
    pub fn read(from: &mut impl Read) -> Result<Self, String> {
        let mut start = [0u8; 8];
        let cut_off = |error: Error| match error.kind() {
            ErrorKind::UnexpectedEof => "it ends within its header".to_owned(),
            _ => error.to_string(),
        };
        from.read_exact(&mut start).map_err(cut_off)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err("it is no array of NumPy".into());
        }
        let long = start[6] >= 2;
        let mut length = [0u8; 4];
        let digits = if long { 4 } else { 2 };
        from.read_exact(&mut length[..digits]).map_err(cut_off)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MOST_HEADER {
            return Err(format!("its header has {length} bytes"));
        }
        let mut text = vec![0u8; length];
        from.read_exact(&mut text).map_err(cut_off)?;
        let mut header = Self::parse(&String::from_utf8_lossy(&text))?;
        header.start = (start.len() + digits + length) as u64;
        Ok(header)
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let at = text.find(&format!("'{key}'"))?;
            Some(text[at..].split_once(':')?.1.trim_start())
        };
        let kind = after("descr").ok_or("its header names no type")?;
        let quoted = kind.strip_prefix('\'').and_then(|k| k.split_once('\''));
        let named = quoted.map_or("a record", |(name, _)| name);
        let kind = Kind::parse(named)
            .ok_or_else(|| format!("it holds elements of the type '{named}', not numbers"))?;
        if after("fortran_order").is_none_or(|order| !order.starts_with("False")) {
            return Err("it is stored by columns; store it with numpy.ascontiguousarray".into());
        }
        let shape = after("shape").and_then(|shape| shape.strip_prefix('(')?.split_once(')'));
        let (shape, _) = shape.ok_or("its header has no shape")?;
        let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let sizes: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
        let shape = sizes.map_err(|_| format!("its shape is ({shape})"))?;
        let header = Self {
            kind,
            shape,
            start: 0,
        };
        match header.elements() {
            Some(_) => Ok(header),
            None => Err(format!("its shape {:?} is too large", header.shape)),
        }
    }

    fn elements(&self) -> Option<usize> {
        let product = self
            .shape
            .iter()
            .try_fold(1usize, |all, &dim| all.checked_mul(dim));
        product.filter(|&all| all <= MOST_ELEMENTS)
    }

    /// The bytes of all elements.
    fn size(&self) -> u64 {
        (self.elements().unwrap_or(0) * self.kind.bytes) as u64
    }

    /// Refuses a file of `length` bytes that ends before the last element.
    pub fn check_length(&self, length: u64) -> Result<(), String> {
        let (held, size) = (length.saturating_sub(self.start), self.size());
        match held < size {
            true => Err(format!("it ends after {held} of {size} bytes")),
            false => Ok(()),
        }
    }

    /// Reads the elements.
    pub fn values(&self, from: &mut impl Read) -> Result<Vec<f32>, String> {
        let size = self.size();
        let mut bytes = Vec::new();
        from.take(size)
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        if bytes.len() as u64 != size {
            let held = bytes.len();
            return Err(format!("it ends after {held} of {size} bytes"));
        }
        let words = bytes.chunks_exact(self.kind.bytes);
        Ok(words.map(|word| self.kind.value(word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(bytes);
        out
    }

    fn read(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
        let mut from = bytes;
        let header = Header::read(&mut from)?;
        let values = header.values(&mut from)?;
        Ok((header.shape, values))
    }

    #[test]
    fn numbers_of_every_type_become_floats() {
        let check = |descr: &str, bytes: &[u8], expected: f32| {
            let array = array(&format!("'{descr}'"), "(1,)", bytes);
            assert_eq!(read(&array).unwrap(), (vec![1], vec![expected]), "{descr}");
        };
        check("<f4", &1.5f32.to_le_bytes(), 1.5);
        check(">f4", &1.5f32.to_be_bytes(), 1.5);
        check("<f8", &(-0.25f64).to_le_bytes(), -0.25);
        check("<f2", &0x3e00u16.to_le_bytes(), 1.5);
        check("<f2", &0x8001u16.to_le_bytes(), -(2f32.powi(-24)));
        check("<i8", &(-7i64).to_le_bytes(), -7.0);
        check(">i4", &300i32.to_be_bytes(), 300.0);
        check("<i2", &(-2i16).to_le_bytes(), -2.0);
        check("|i1", &[255], -1.0);
        check("|u1", &[255], 255.0);
        check("|b1", &[1], 1.0);
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused_with_its_reason() {
        let check = |bytes: &[u8], part: &str| {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(b"PK\x03\x04....", "no array of NumPy");
        check(&array("'<U5'", "(1,)", &[]), "'<U5'");
        check(&array("[('a', '<f4')]", "(1,)", &[]), "a record");
        check(&array("'<f4'", "(2,)", &[0; 4]), "ends after 4 of 8");
        check(
            &array("'<f4'", "(99999999999, 99999999999)", &[]),
            "too large",
        );
        check(&array("'<f4'", "(-1,)", &[]), "its shape is");
        check(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "its header has");
        check(b"\x93NUMPY\x01\x00\x02\x00{}", "names no type");
    }
}
