//! The table of a container's tensors.

use crate::tensor::Layout;
use crate::wire::{Reader, write_number};
use crate::{Bits, CodecError};

const LOSSLESS: u64 = 0;
const REFINED: u64 = 1;

/// How a tensor is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Lossless { count: usize },
    Refined { count: usize },
    Quantized { bits: Bits, layout: Layout },
}

impl Kind {
    /// Number of values.
    pub fn count(&self) -> usize {
        match self {
            Self::Lossless { count } | Self::Refined { count } => *count,
            Self::Quantized { layout, .. } => layout.len(),
        }
    }

    /// Number of scales.
    pub fn scales(&self) -> usize {
        match self {
            Self::Quantized { layout, .. } => layout.channels,
            Self::Lossless { .. } | Self::Refined { .. } => 0,
        }
    }
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub name: &'a str,
    /// Bytes between the end of the tensor before and this one.
    pub gap: usize,
    pub kind: Kind,
}

impl<'a> Entry<'a> {
    pub fn write(&self, to: &mut Vec<u8>) {
        write_number(to, self.name.len() as u64);
        to.extend(self.name.as_bytes());
        let (kind, sizes) = match self.kind {
            Kind::Lossless { count } => (LOSSLESS, [count, 1, 1]),
            Kind::Refined { count } => (REFINED, [count, 1, 1]),
            Kind::Quantized { bits, layout } => {
                let Layout {
                    outer,
                    channels,
                    inner,
                } = layout;
                (u64::from(bits.get()), [outer, channels, inner])
            }
        };
        write_number(to, self.gap as u64);
        write_number(to, kind);
        let used = if kind > REFINED { 3 } else { 1 };
        for size in &sizes[..used] {
            write_number(to, *size as u64);
        }
    }

    /// Reads a line of the table of a file of `file_len` bytes.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] for a line that is not of [`Self::write`], or a tensor that is
    /// empty or larger than the file.
    pub fn read(reader: &mut Reader<'a>, file_len: usize) -> Result<Self, CodecError> {
        let len = reader.size()?;
        let name = std::str::from_utf8(reader.part(len)?)
            .map_err(|_| reader.damaged("a name is not text"))?;
        let gap = reader.size()?;
        let kind = match reader.number()? {
            LOSSLESS => Kind::Lossless {
                count: reader.size()?,
            },
            REFINED => Kind::Refined {
                count: reader.size()?,
            },
            bits => {
                let known = u8::try_from(bits)
                    .ok()
                    .and_then(|bits| Bits::new(bits).ok());
                let bits = known.ok_or_else(|| {
                    CodecError::damaged(name, format!("its storage {bits} is unknown"))
                })?;
                let dims = [reader.size()?, reader.size()?, reader.size()?];
                let layout = Layout::of(&dims, 1);
                Kind::Quantized {
                    bits,
                    layout: layout.map_err(|reason| CodecError::damaged(name, reason))?,
                }
            }
        };
        let count = kind.count();
        if count == 0 || count > file_len / 4 {
            let reason = format!("{count} values do not fit the file");
            return Err(CodecError::damaged(name, reason));
        }
        Ok(Self { name, gap, kind })
    }
}
