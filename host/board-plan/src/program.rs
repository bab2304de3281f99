//! The operators while they are collected: buffers have numbers in place of offsets.

use std::collections::BTreeMap;

use int8_engine::{Build, Op, PlanError, Tensor};

use crate::memory::{Buffer, Layout, Life, place};

/// Operators, buffers and weights so far.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub ops: Vec<Op>,
    /// The node of each operator.
    pub names: Vec<String>,
    pub buffers: Vec<Buffer>,
    pub weights: Vec<u8>,
    /// Where tables that several operators read lie.
    tables: BTreeMap<Vec<u8>, u32>,
}

/// The buffers of an operator.
struct Uses<'a> {
    reads: Vec<&'a mut u32>,
    writes: &'a mut u32,
    scratch: Option<&'a mut u32>,
    /// Whether the output may take the place of an input.
    in_place: bool,
}

fn uses(op: &mut Op) -> Uses<'_> {
    let (reads, writes, scratch, in_place) = match op {
        Op::Conv(op) => (
            vec![&mut op.input],
            &mut op.output,
            Some(&mut op.scratch),
            false,
        ),
        Op::Depthwise(op) => (
            vec![&mut op.input],
            &mut op.output,
            Some(&mut op.scratch),
            false,
        ),
        Op::Add(op) => (op.inputs.iter_mut().collect(), &mut op.output, None, true),
        Op::AveragePool(op) => (vec![&mut op.input], &mut op.output, None, false),
        Op::MaxPool(op) => (vec![&mut op.input], &mut op.output, None, false),
        Op::Place(op) => (vec![&mut op.input], &mut op.output, None, false),
        Op::Table(op) => (vec![&mut op.input], &mut op.output, None, true),
    };
    Uses {
        reads: reads
            .into_iter()
            .map(|t: &mut Tensor| &mut t.offset)
            .collect(),
        writes: &mut writes.offset,
        scratch,
        in_place,
    }
}

/// A plan and what it needs.
pub(crate) struct Placed {
    pub plan: Vec<u8>,
    pub input: Tensor,
    pub output: Tensor,
    pub arena: u32,
    pub peak: String,
}

impl Program {
    /// A new buffer; returns its number.
    pub fn buffer(&mut self, name: &str, bytes: u32) -> u32 {
        self.buffers.push(Buffer {
            name: name.into(),
            bytes,
        });
        self.buffers.len() as u32 - 1
    }

    /// Appends an operator of a node.
    pub fn push(&mut self, node: &str, op: impl Into<Op>) {
        self.ops.push(op.into());
        self.names.push(node.into());
    }

    /// Appends weights on a word; returns their offset.
    pub fn store(&mut self, bytes: impl IntoIterator<Item = u8>) -> u32 {
        self.weights
            .resize(self.weights.len().next_multiple_of(4), 0);
        let offset = self.weights.len() as u32;
        self.weights.extend(bytes);
        offset
    }

    /// Appends a table of 256 entries, unless it is there; returns its offset.
    pub fn table(&mut self, entries: Vec<u8>) -> u32 {
        if let Some(&offset) = self.tables.get(&entries) {
            return offset;
        }
        let offset = self.store(entries.iter().copied());
        self.tables.insert(entries, offset);
        offset
    }

    /// Places the buffers and writes the plan. `input` and `output` have the numbers of theirs.
    pub fn finish(mut self, ends: [Tensor; 2]) -> Result<(Placed, Self), PlanError> {
        self.weights
            .resize(self.weights.len().next_multiple_of(4), 0);
        let same = self.in_place(ends);
        let root = |buffer: u32| same.get(&buffer).copied().unwrap_or(buffer);
        for op in &mut self.ops {
            let uses = uses(op);
            for buffer in uses.reads.into_iter().chain([uses.writes]) {
                *buffer = root(*buffer);
            }
        }
        let ends = ends.map(|tensor| Tensor {
            offset: root(tensor.offset),
            ..tensor
        });
        let lives = self.lives(ends);
        let layout = place(&self.buffers, &lives);
        self.relocate(&layout);
        let [input, output] = ends.map(|tensor| Tensor {
            offset: layout.offsets[tensor.offset as usize],
            ..tensor
        });
        let build = Build {
            arena: layout.arena,
            weights: self.weights.len() as u32,
            input,
            output,
            ops: &self.ops,
        };
        let mut plan = Vec::new();
        build.write(&mut plan)?;
        let placed = Placed {
            plan,
            input,
            output,
            arena: layout.arena,
            peak: self.buffers[layout.peak].name.clone(),
        };
        Ok((placed, self))
    }

    /// Buffers whose bytes are those of another, by their number: outputs that take the place of an
    /// input that nothing reads afterwards.
    fn in_place(&mut self, ends: [Tensor; 2]) -> BTreeMap<u32, u32> {
        let lives = self.lives(ends);
        let mut same: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last: Vec<usize> = lives
            .iter()
            .map(|l| l.as_ref().map_or(0, |l| *l.end()))
            .collect();
        for (step, op) in self.ops.iter_mut().enumerate() {
            let uses = uses(op);
            if !uses.in_place {
                continue;
            }
            let to = *uses.writes;
            let free = uses
                .reads
                .iter()
                .map(|&&mut from| same.get(&from).copied().unwrap_or(from));
            let bytes = |b: u32| self.buffers[b as usize].bytes;
            let mut free =
                free.filter(|&from| last[from as usize] == step + 1 && bytes(from) == bytes(to));
            if let Some(from) = free.next() {
                same.insert(to, from);
                last[from as usize] = last[to as usize];
            }
        }
        same
    }

    /// When each buffer is needed. Step 0 is before the first operator.
    fn lives(&mut self, [input, output]: [Tensor; 2]) -> Vec<Option<Life>> {
        let mut lives: Vec<Option<Life>> = vec![None; self.buffers.len()];
        let mut need = |buffer: u32, step: usize| {
            let life = &mut lives[buffer as usize];
            *life = Some(life.as_ref().map_or(step..=step, |life| {
                *life.start().min(&step)..=*life.end().max(&step)
            }));
        };
        need(input.offset, 0);
        for (index, op) in self.ops.iter_mut().enumerate() {
            let uses = uses(op);
            let all = uses.reads.into_iter().chain([uses.writes]);
            for buffer in all.chain(uses.scratch) {
                need(*buffer, index + 1);
            }
        }
        need(output.offset, self.ops.len() + 1);
        lives
    }

    /// Replaces the numbers of buffers by their offsets.
    fn relocate(&mut self, layout: &Layout) {
        for op in &mut self.ops {
            let uses = uses(op);
            let all = uses.reads.into_iter().chain([uses.writes]);
            for buffer in all.chain(uses.scratch) {
                *buffer = layout.offsets[*buffer as usize];
            }
        }
    }
}
