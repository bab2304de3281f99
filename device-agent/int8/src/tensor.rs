//! Tensors in the arena.

use core::ops::Range;

use crate::wire::{Field, Reader, Sink, record};

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Bytes with a sign.
    I8,
    /// 32-bit integers, little endian: the sums of a last layer, before any rounding.
    I32,
}

impl Element {
    /// Bytes of an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I32 => 4,
        }
    }
}

impl Field for Element {
    const BYTES: usize = 1;

    #[inline(always)]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(Self::I8),
            1 => Some(Self::I32),
            _ => None,
        }
    }

    fn write(&self, to: &mut impl Sink) {
        u8::from(*self == Self::I32).write(to);
    }
}

record! {
    /// A tensor of one image: height, width, channels, the last varying fastest.
    pub struct Tensor {
        /// First byte in the arena, a multiple of 4.
        pub offset: u32,
        /// Rows.
        pub height: u16,
        /// Columns.
        pub width: u16,
        /// Channels.
        pub channels: u16,
        /// The integer whose value is 0.
        pub zero_point: i8,
        /// Type of the elements.
        pub element: Element,
    }
}

impl Default for Tensor {
    /// The empty tensor.
    fn default() -> Self {
        Self {
            offset: 0,
            height: 0,
            width: 0,
            channels: 0,
            zero_point: 0,
            element: Element::I8,
        }
    }
}

/// Bytes of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Region {
    pub(crate) fn range(self) -> Range<usize> {
        let start = self.offset as usize;
        start..start.saturating_add(self.len as usize)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        let end = |r: Self| u64::from(r.offset) + u64::from(r.len);
        let apart = end(self) <= u64::from(other.offset) || end(other) <= u64::from(self.offset);
        !apart && self.len > 0 && other.len > 0
    }
}

impl Tensor {
    /// Rows, columns and channels.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        [self.height, self.width, self.channels].map(usize::from)
    }

    /// Bytes of the tensor; `None` if an address of 32 bits cannot count them.
    #[must_use]
    pub fn bytes(&self) -> Option<u32> {
        let factors = [
            self.height,
            self.width,
            self.channels,
            self.element.bytes() as u16,
        ];
        factors
            .iter()
            .try_fold(1u32, |n, &f| n.checked_mul(f.into()))
    }

    /// The bytes of the tensor in the arena. A tensor of a parsed plan has them all.
    #[must_use]
    pub fn region(&self) -> Region {
        Region {
            offset: self.offset,
            len: self.bytes().unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.region().range()
    }
}
