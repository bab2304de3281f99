//! Operators: each file has the record, its checks and its computation.

mod add;
mod average_pool;
mod common;
mod conv;
mod depthwise;
mod max_pool;
mod place;
mod runs;
mod table;
mod window;

pub use add::Add;
pub use average_pool::AveragePool;
pub use conv::Conv;
pub use depthwise::Depthwise;
pub use max_pool::MaxPool;
pub use place::Place;
pub use table::Table;
pub use window::Window;

pub(crate) use common::{Failed, Memory};

use crate::bounds::Bounds;
use crate::wire::{Field, Reader, Sink};

/// The kind and the record of an operator.
fn begin<'a>(from: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    let [kind, len] = from.take()?;
    Some((kind, Reader(from.slice(len.into())?)))
}

/// Declares the kinds of operators by their numbers in a plan.
macro_rules! kinds {
    ($($number:literal $name:ident $text:literal,)*) => {
        /// An operator of a plan.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant holds the documented struct of its name")]
        pub enum Op {
            $($name($name),)*
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*

        /// Reads an operator; `None` if it is cut short or of an unknown kind.
        pub(crate) fn read(from: &mut Reader<'_>) -> Option<Op> {
            let (kind, mut body) = begin(from)?;
            let op = match kind {
                $($number => Op::$name($name::read(&mut body)?),)*
                _ => return None,
            };
            body.0.is_empty().then_some(op)
        }

        /// Runs the operator that is next in a parsed plan. It is not made an [`Op`] before: a
        /// small layer takes not much longer than that.
        pub(crate) fn run_next(from: &mut Reader<'_>, memory: &mut Memory<'_>) -> Result<(), Failed> {
            let (kind, mut body) = begin(from).ok_or(Failed)?;
            match kind {
                $($number => $name::read(&mut body).ok_or(Failed)?.run(memory),)*
                _ => Err(Failed),
            }
        }

        /// Writes an operator.
        pub(crate) fn write(op: &Op, to: &mut impl Sink) {
            struct Length(u8);
            impl Sink for Length {
                fn put(&mut self, bytes: &[u8]) {
                    self.0 += bytes.len() as u8;
                }
            }
            let mut len = Length(0);
            match op {
                $(Op::$name(op) => {
                    op.write(&mut len);
                    [$number, len.0].write(to);
                    op.write(to);
                })*
            }
        }

        impl Op {
            /// What the operator computes, in a word or two.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $text,)*
                }
            }

            /// Multiplications of a weight and an activation.
            #[must_use]
            pub fn macs(&self) -> u64 {
                match self {
                    Self::Conv(op) => op.macs(),
                    Self::Depthwise(op) => op.macs(),
                    _ => 0,
                }
            }

            pub(crate) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
                match self {
                    $(Self::$name(op) => op.check(bounds),)*
                }
            }
        }
    };
}

kinds! {
    1 Conv "convolution",
    2 Depthwise "depthwise convolution",
    3 Add "addition",
    4 AveragePool "average pooling",
    5 MaxPool "maximum pooling",
    6 Place "placement",
    7 Table "table",
}
