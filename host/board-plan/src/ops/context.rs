//! What the rules of an operator may look at and append to.

use std::collections::HashMap;

use int8_engine::Tensor;
use onnx_graph::{Graph, Node, ValueId};

use crate::program::Program;
use crate::state::State;
use crate::value::{Integers, image, tensor};

/// A node and its surroundings.
pub(crate) struct Context<'a> {
    pub graph: &'a Graph,
    pub states: &'a HashMap<ValueId, State>,
    pub program: &'a mut Program,
    pub node: &'a Node,
}

impl Context<'_> {
    /// What an input is.
    pub fn state(&self, i: usize) -> Result<&State, String> {
        let id = self.node.input(i).ok_or("an input is missing")?;
        self.states
            .get(&id)
            .ok_or_else(|| "an input is a constant".into())
    }

    /// An input in integers.
    pub fn integers(&self, i: usize) -> Result<Integers, String> {
        match self.state(i)? {
            State::Integers(integers) => Ok(*integers),
            _ => Err("an input is not quantised".into()),
        }
    }

    /// An input in integers that has the arena's order of its dimensions: no flattened image.
    pub fn image(&self, i: usize) -> Result<Integers, String> {
        let integers = self.integers(i)?;
        let dims = self.dims(self.node.input(i))?;
        if image(&dims)?.map(usize::from) == integers.dims() {
            Ok(integers)
        } else {
            Err("an input is an image that was flattened; only a matrix product reads that".into())
        }
    }

    /// Dimensions of a value.
    pub fn dims(&self, id: Option<ValueId>) -> Result<Vec<usize>, String> {
        let dims = id.and_then(|id| self.graph.dims(id));
        dims.ok_or_else(|| "the size of a value is open".into())
    }

    /// The output's shape in the arena.
    pub fn output(&self) -> Result<[u16; 3], String> {
        image(&self.dims(Some(self.node.output()))?)
    }

    /// A new tensor of the output's shape, with the integers of `like`.
    pub fn tensor_like(&mut self, like: &Integers) -> Result<Integers, String> {
        let shape = self.output()?;
        let tensor = new_tensor(
            self.program,
            &self.node.name,
            (shape, like.tensor.zero_point),
        )?;
        Ok(Integers { tensor, ..*like })
    }
}

/// A tensor in a buffer of its own.
pub(super) fn new_tensor(
    program: &mut Program,
    name: &str,
    (shape, zero_point): ([u16; 3], i8),
) -> Result<Tensor, String> {
    let mut new = tensor(shape, 0, zero_point);
    let bytes = new.bytes().ok_or("its output exceeds 4 GiB")?;
    new.offset = program.buffer(name, bytes);
    Ok(new)
}
