//! Plans: their bytes and their checks.

use crate::bounds::Bounds;
use crate::ops::{self, Op};
use crate::tensor::{Element, Tensor};
use crate::wire::{Field, Reader, Sink, record};

/// First four bytes of a plan.
pub const MAGIC: [u8; 4] = *b"I8PL";

/// Version of the format that this crate reads and writes.
pub const VERSION: u16 = 2;

record! {
    /// The header, before the operators.
    pub struct Header {
        /// [`MAGIC`].
        pub magic: [u8; 4],
        /// [`VERSION`].
        pub version: u16,
        /// Number of operators.
        pub operators: u16,
        /// Bytes of the plan, this header included.
        pub bytes: u32,
        /// Bytes of the arena.
        pub arena: u32,
        /// Bytes of the packed weights.
        pub weights: u32,
        /// The image.
        pub input: Tensor,
        /// The result.
        pub output: Tensor,
    }
}

/// Bytes of [`Header`].
const HEADER: usize = 44;

/// A plan that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The bytes are no plan.
    #[error("these bytes are no plan of a quantised network")]
    NoPlan,
    /// A plan of another version.
    #[error("the plan has version {found}; version {VERSION} is read")]
    Version {
        /// Its version.
        found: u16,
    },
    /// The plan has fewer or more bytes than it states.
    #[error("the plan states {stated} bytes and has {held}")]
    Length {
        /// Bytes by its header.
        stated: u32,
        /// Bytes that are there.
        held: usize,
    },
    /// The input or output is not in the arena.
    #[error("the network's {end} is outside of the arena")]
    End {
        /// Which.
        end: &'static str,
    },
    /// An operator is cut short, of an unknown kind, or followed by stray bytes.
    #[error("operator {index} has no meaning")]
    Malformed {
        /// Its position.
        index: u16,
    },
    /// An operator's parts contradict each other, or lie outside of the arena or the weights.
    #[error("operator {index} ({name}): {reason}")]
    Operator {
        /// Its position.
        index: u16,
        /// What it computes.
        name: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A plan whose operators stay within the arena and the weights.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    header: Header,
    operators: &'a [u8],
}

impl<'a> Plan<'a> {
    /// Reads a plan.
    ///
    /// # Errors
    /// Why the bytes are no plan that [`run`](crate::run()) can execute within its bounds.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PlanError> {
        let mut reader = Reader(bytes);
        let header = Header::read(&mut reader).filter(|h| h.magic == MAGIC);
        let header = header.ok_or(PlanError::NoPlan)?;
        if header.version != VERSION {
            return Err(PlanError::Version {
                found: header.version,
            });
        }
        if usize::try_from(header.bytes) != Ok(bytes.len()) {
            return Err(PlanError::Length {
                stated: header.bytes,
                held: bytes.len(),
            });
        }
        let bounds = Bounds {
            arena: header.arena,
            weights: header.weights,
        };
        let bytes_only = header.input.element == Element::I8;
        if !bytes_only || !bounds.holds(&header.input) {
            return Err(PlanError::End { end: "input" });
        }
        if !bounds.holds(&header.output) {
            return Err(PlanError::End { end: "output" });
        }
        let plan = Self {
            header,
            operators: reader.0,
        };
        let mut rest = Reader(plan.operators);
        for index in 0..header.operators {
            let op = ops::read(&mut rest).ok_or(PlanError::Malformed { index })?;
            op.check(bounds).map_err(|reason| PlanError::Operator {
                index,
                name: op.name(),
                reason,
            })?;
        }
        if rest.0.is_empty() {
            Ok(plan)
        } else {
            Err(PlanError::Malformed {
                index: header.operators,
            })
        }
    }

    /// The records of the operators.
    pub(crate) fn records(&self) -> Reader<'a> {
        Reader(self.operators)
    }

    /// The operators, in the order of execution.
    pub fn ops(&self) -> impl Iterator<Item = Op> + use<'a> {
        let mut rest = self.records();
        core::iter::from_fn(move || ops::read(&mut rest))
    }

    /// Number of operators.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.operators.into()
    }

    /// Whether there are no operators.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.operators == 0
    }

    /// Bytes of arena that the network needs.
    #[must_use]
    pub fn arena(&self) -> u32 {
        self.header.arena
    }

    /// Bytes of packed weights that the operators read.
    #[must_use]
    pub fn weights(&self) -> u32 {
        self.header.weights
    }

    /// Where the image goes. Operators may overwrite it.
    #[must_use]
    pub fn input(&self) -> Tensor {
        self.header.input
    }

    /// Where the result is after a run.
    #[must_use]
    pub fn output(&self) -> Tensor {
        self.header.output
    }
}

/// The parts of a plan to write.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// Bytes of the arena.
    pub arena: u32,
    /// Bytes of the packed weights.
    pub weights: u32,
    /// The image.
    pub input: Tensor,
    /// The result.
    pub output: Tensor,
    /// The operators, in the order of execution.
    pub ops: &'a [Op],
}

impl Build<'_> {
    /// Writes the plan.
    ///
    /// # Errors
    /// What [`Plan::parse`] would report of an operator; [`PlanError::Malformed`] for more
    /// operators than the format counts.
    pub fn write(&self, to: &mut impl Sink) -> Result<(), PlanError> {
        let bounds = Bounds {
            arena: self.arena,
            weights: self.weights,
        };
        let operators =
            u16::try_from(self.ops.len()).map_err(|_| PlanError::Malformed { index: u16::MAX })?;
        let mut bytes = HEADER;
        for (index, op) in (0..).zip(self.ops) {
            op.check(bounds).map_err(|reason| PlanError::Operator {
                index,
                name: op.name(),
                reason,
            })?;
            let mut count = Count(0);
            ops::write(op, &mut count);
            bytes += count.0;
        }
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            operators,
            bytes: bytes as u32,
            arena: self.arena,
            weights: self.weights,
            input: self.input,
            output: self.output,
        };
        header.write(to);
        for op in self.ops {
            ops::write(op, to);
        }
        Ok(())
    }
}

/// Counts the bytes of a record.
struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}
