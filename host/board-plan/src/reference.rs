//! The board's computation on the host, bit for bit.

use int8_engine::{Plan, PlanError, run};

use crate::error::LowerError;
use crate::lowered::Lowered;

/// A network ready to run on the host.
#[derive(Debug)]
pub struct Reference<'a> {
    lowered: &'a Lowered,
    plan: Plan<'a>,
    weights: Words,
    arena: Words,
}

/// Bytes that begin on a word.
#[derive(Debug)]
struct Words {
    bytes: Vec<u8>,
    start: usize,
}

impl Words {
    fn new(content: &[u8]) -> Self {
        let mut bytes = vec![0; content.len() + 3];
        let start = bytes.as_ptr().align_offset(4);
        bytes[start..start + content.len()].copy_from_slice(content);
        Self { bytes, start }
    }
}

impl Lowered {
    /// Makes the network ready to run on the host.
    ///
    /// # Errors
    /// Those of [`Plan::parse`], if the plan was changed.
    pub fn reference(&self) -> Result<Reference<'_>, PlanError> {
        let plan = Plan::parse(&self.plan)?;
        Ok(Reference {
            lowered: self,
            plan,
            weights: Words::new(&self.weights),
            arena: Words::new(&vec![0; plan.arena() as usize]),
        })
    }
}

impl Reference<'_> {
    /// Runs the network on an image in its own order, channels first, and returns the bytes of the
    /// output's place.
    ///
    /// # Errors
    /// [`LowerError::End`] for an image of another size; [`LowerError::Run`] if the weights were
    /// cut.
    pub fn run(&mut self, image: &[f32]) -> Result<Vec<u8>, LowerError> {
        let port = &self.lowered.input;
        let bytes = self.lowered.encode(image).ok_or_else(|| LowerError::End {
            end: "input",
            value: port.name.clone(),
            reason: format!(
                "{} numbers are given, its size is {:?}",
                image.len(),
                port.dims
            ),
        })?;
        let arena = &mut self.arena.bytes[self.arena.start..];
        let start = self.plan.input().offset as usize;
        arena[start..start + bytes.len()].copy_from_slice(&bytes);
        run(
            &self.plan,
            &self.weights.bytes[self.weights.start..],
            arena,
            &mut (),
        )?;
        let output = self.plan.output().region();
        let start = output.offset as usize;
        Ok(arena[start..start + output.len as usize].to_vec())
    }
}
