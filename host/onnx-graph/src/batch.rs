//! Leaving the batch of a network open that a file fixes, and fixing it again.

use crate::dims::{self, Product};
use crate::graph::{Dim, Graph, Shape, ValueId};
use crate::interface::declared_sizes;
use crate::ops::{Expand, Op, Reshape};
use crate::sizes::Size;
use crate::{GraphError, Tensor};

/// Operators, kept as the file has them, that broadcast their inputs.
const BROADCASTING: [&str; 16] = [
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Or",
    "Sum",
];

/// Why an operator along the batch cannot follow it.
const ALONG: &str = "it runs along the images of the batch";

impl Graph {
    /// The batch: the first size of the first input, where there is one.
    #[must_use]
    pub fn batch(&self) -> Option<&Dim> {
        self.value(*self.inputs.first()?).shape.as_ref()?.first()
    }

    /// Leaves a batch that is fixed open, under the name `symbol` or one made of it, and tells what it was fixed at.
    /// Nothing changes where it is open already. Reshape targets, slices and constants in which the batch stands follow.
    ///
    /// # Errors
    /// [`GraphError::FixedBatch`] with the node that cannot follow, and why.
    pub fn with_open_batch(mut self, symbol: &str) -> Result<(Self, Option<usize>), GraphError> {
        let Some(batch) = self.batch().and_then(Dim::known) else {
            return Ok((self, None));
        };
        let opening = Opening {
            batch,
            symbol: self.unused_symbol(symbol),
            old: self.values.iter().map(|v| v.shape.clone()).collect(),
        };
        for id in self.inputs.clone() {
            let value = &mut self.values[id.index()];
            let first = value.shape.as_mut().and_then(|s| s.first_mut());
            match first {
                Some(first) if *first == Dim::Known(batch) => *first = opening.open(),
                _ => {
                    let reason =
                        format!("its first size is not that of the first input's, {batch}");
                    let name = value.name.clone();
                    return Err(opening.refused((name, "graph input".into()), reason));
                }
            }
        }
        let mut index = 0;
        while index < self.nodes.len() {
            let place = opening.place(&self, index);
            index = opening
                .follow(&mut self, index)
                .map_err(|reason| opening.refused(place, reason))?
                + 1;
        }
        for id in &self.outputs {
            let value = self.value(*id);
            let leads = value.shape.as_ref().and_then(|s| s.first()) == Some(&opening.open());
            if !leads {
                let reason = "its first size is not the batch".to_owned();
                return Err(opening.refused((value.name.clone(), "graph output".into()), reason));
            }
        }
        self.declare_open();
        self.remove_dead();
        self.check()?;
        Ok((self, Some(batch)))
    }

    /// Fixes an open batch at `size`; nothing changes where it is fixed already.
    ///
    /// # Errors
    /// [`GraphError::Shape`] when a node does not accept that size.
    pub fn with_batch(mut self, size: usize) -> Result<Self, GraphError> {
        let Some(Dim::Symbol(symbol)) = self.batch().cloned() else {
            return Ok(self);
        };
        let fixed = |dim: &Dim| at(dim, &symbol, size).unwrap_or_else(|| dim.clone());
        for value in &mut self.values {
            for dim in value.shape.iter_mut().flatten() {
                *dim = fixed(dim);
            }
        }
        for node in &mut self.nodes {
            if let Op::Expand(op) = &mut node.op {
                op.sizes.iter_mut().for_each(|dim| *dim = fixed(dim));
                if op.sizes.iter().all(|dim| dim.known().is_some()) {
                    node.inputs.truncate(1);
                }
            }
        }
        self.infer_shapes()?;
        self.remove_dead();
        Ok(self)
    }

    /// `symbol`, or one made of it that is no size of the graph.
    fn unused_symbol(&self, symbol: &str) -> String {
        let dims = || self.values.iter().flat_map(|v| v.shape.iter().flatten());
        let taken = |name: &str| dims().any(|d| at(d, name, 1).as_ref() != Some(d));
        let more = (1..).map(|i| format!("{symbol}{i}"));
        let mut all = std::iter::once(symbol.to_owned()).chain(more);
        all.find(|name| !taken(name)).unwrap_or_default()
    }

    /// Declares sizes of inputs and outputs as open that are so now.
    fn declare_open(&mut self) {
        for id in self.inputs.iter().chain(&self.outputs) {
            let value = &self.values[id.index()];
            let sizes = self.ports.get_mut(&value.name).and_then(declared_sizes);
            let (Some(sizes), Some(shape)) = (sizes, &value.shape) else {
                continue;
            };
            for (size, dim) in sizes.iter_mut().zip(shape) {
                if let Dim::Symbol(symbol) = dim
                    && size.dim_value.is_some_and(|n| n > 0)
                {
                    size.dim_value = None;
                    size.dim_param = Some(symbol.clone());
                }
            }
        }
    }
}

/// A size with a number for a symbol; `None` on overflow, or where the symbol is in more than a product.
fn at(dim: &Dim, symbol: &str, size: usize) -> Option<Dim> {
    match dim {
        Dim::Known(_) => Some(dim.clone()),
        Dim::Symbol(_) => Some(Product::one().times(dim)?.with(symbol, size)?.dim()),
    }
}

/// A batch that is being opened.
struct Opening {
    batch: usize,
    symbol: String,
    /// Shapes of the values before.
    old: Vec<Option<Shape>>,
}

impl Opening {
    fn open(&self) -> Dim {
        Dim::Symbol(self.symbol.clone())
    }

    fn place(&self, graph: &Graph, index: usize) -> (String, String) {
        let node = &graph.nodes[index];
        (node.name.clone(), node.op.name().to_owned())
    }

    fn refused(&self, (node, op): (String, String), reason: String) -> GraphError {
        GraphError::FixedBatch {
            batch: self.batch,
            node,
            op,
            reason,
        }
    }

    /// Whether a size follows the batch.
    fn follows(&self, dim: &Dim) -> bool {
        at(dim, &self.symbol, self.batch).as_ref() != Some(dim)
    }

    /// The axis of a value that follows the batch, and its size.
    fn axis<'g>(&self, graph: &'g Graph, id: ValueId) -> Option<(usize, &'g Dim)> {
        let shape = graph.value(id).shape.as_ref()?;
        shape.iter().enumerate().find(|(_, d)| self.follows(d))
    }

    fn old_dims(&self, id: ValueId) -> Option<Vec<usize>> {
        let shape = self.old.get(id.index())?.as_ref()?;
        shape.iter().map(Dim::known).collect()
    }

    /// Lets the node at `index` follow. Returns where it is then: nodes may come before it.
    fn follow(&self, graph: &mut Graph, index: usize) -> Result<usize, String> {
        let inputs: Vec<ValueId> = graph.nodes[index]
            .inputs
            .iter()
            .flatten()
            .copied()
            .collect();
        let Some(&led) = inputs.iter().find(|&&v| self.axis(graph, v).is_some()) else {
            return Ok(index);
        };
        self.adapt(graph, index, led)?;
        let index = self.align(graph, index)?;
        if matches!(graph.nodes[index].op, Op::Opaque(_)) {
            for id in graph.nodes[index].outputs.iter().flatten() {
                graph.values[id.index()].shape = None;
            }
        }
        graph.infer_node(index).map_err(|e| match e {
            GraphError::Shape { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let node = &graph.nodes[index];
        let sizes_only = matches!(node.op, Op::Shape(_));
        for (i, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let (new, old) = (&graph.value(id).shape, &self.old[id.index()]);
            let Some(new) = new else {
                return Err(format!(
                    "how its output {i} follows the batch is not known: there is no rule for its shape"
                ));
            };
            let then: Option<Shape> = new
                .iter()
                .map(|d| at(d, &self.symbol, self.batch))
                .collect();
            if old.is_some() && then != *old {
                return Err(format!(
                    "with the batch open its output has the shape {new:?}, which is not {:?} for a batch of {}",
                    old.as_deref().unwrap_or_default(),
                    self.batch
                ));
            }
            if !sizes_only && !new.iter().any(|d| self.follows(d)) {
                return Err("it joins what is of several images, or takes some of them".into());
            }
        }
        Ok(index)
    }

    /// Changes the operator where the batch stands in its attributes.
    fn adapt(&self, graph: &mut Graph, index: usize, led: ValueId) -> Result<(), String> {
        let Some((axis, dim)) = self.axis(graph, led) else {
            return Ok(());
        };
        let (whole, dim) = (*dim == self.open(), dim.clone());
        let rank = graph.value(led).shape.as_ref().map_or(0, Vec::len);
        let output = graph.nodes[index].outputs.first().copied().flatten();
        let old = [Some(led), output].map(|v| self.old_dims(v?));
        match &mut graph.nodes[index].op {
            Op::Reshape(op) => {
                let [Some(from), Some(to)] = old else {
                    return Err("its sizes are not known".into());
                };
                self.retarget(op, (axis, &dim), &from, &to)?;
            }
            Op::Slice(op) => {
                for i in 0..op.starts.len() {
                    if op.axis(i, rank) != Some(axis) {
                        continue;
                    }
                    let step = op.steps.get(i).copied().unwrap_or(1);
                    let all = usize::try_from(op.ends[i]).is_ok_and(|end| end >= self.batch);
                    if !(whole && all && step == 1 && op.starts[i] == 0) {
                        return Err("it takes some images of the batch".into());
                    }
                    op.ends[i] = i64::MAX;
                }
            }
            Op::Softmax(op) if op.axis(rank) == Some(axis) => return Err(ALONG.into()),
            Op::LogSoftmax(op) if op.axis(rank) == Some(axis) => return Err(ALONG.into()),
            Op::LayerNormalization(op) if op.axis(rank).is_some_and(|first| first <= axis) => {
                return Err(ALONG.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets a Reshape's target follow the batch, which is in axis `at` of what it reads. The batch is the outermost part of that
    /// axis, and so it must be of one axis of the result.
    fn retarget(
        &self,
        op: &mut Reshape,
        (at, dim): (usize, &Dim),
        from: &[usize],
        to: &[usize],
    ) -> Result<(), String> {
        let lost = || format!("its target {:?} splits the images of the batch", op.target);
        if op.allow_zero || to.contains(&0) || to.len() != op.target.len() {
            return Err(lost());
        }
        // What the batch and all within it come to.
        let whole: usize = from[at..].iter().product();
        let within = whole / self.batch;
        let inner = |i: usize| to[i + 1..].iter().product::<usize>();
        let holds = |&i: &usize| inner(i) * to[i] == whole && within.is_multiple_of(inner(i));
        let axis = (0..to.len()).find(holds).ok_or_else(lost)?;
        let target = &mut op.target;
        if *dim == self.open() && at == axis && to[axis] == self.batch {
            target[axis] = 0;
            return Ok(());
        }
        for (target, &size) in target.iter_mut().zip(to) {
            if *target == -1 {
                *target = size as i64;
            }
        }
        target[axis] = -1;
        Ok(())
    }

    /// Gives inputs that hold the batch as a number the sizes that they need beside those that follow it.
    fn align(&self, graph: &mut Graph, index: usize) -> Result<usize, String> {
        let node = &graph.nodes[index];
        let joins = match &node.op {
            Op::Concat(_) => true,
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Where(_)
            | Op::MatMul(_)
            | Op::PRelu(_) => false,
            Op::Opaque(op)
                if op.domain.is_empty() && BROADCASTING.contains(&op.op_type.as_str()) =>
            {
                false
            }
            _ => return Ok(index),
        };
        let output = node.outputs.first().copied().flatten();
        let shapes: Vec<Option<Shape>> = node
            .inputs
            .iter()
            .map(|v| graph.value((*v)?).shape.clone())
            .collect();
        let rank = shapes.iter().flatten().map(Vec::len).max().unwrap_or(0);
        // The axis that follows the batch, from the end.
        let follows = |shape: &Shape| {
            let at = shape.iter().position(|d| self.follows(d))?;
            Some((shape.len() - at, shape[at].clone()))
        };
        let Some((from_end, dim)) = shapes.iter().flatten().find_map(follows) else {
            return Ok(index);
        };
        let joined = match &node.op {
            Op::Concat(op) => dims::axis(op.axis, rank).ok().map(|axis| rank - axis),
            _ => None,
        };
        if joined == Some(from_end) {
            return Err("it joins images to the batch".into());
        }
        // The last two axes of a product are no batch of matrices.
        if matches!(node.op, Op::MatMul(_)) && from_end <= 2 {
            return Ok(index);
        }
        let size = at(&dim, &self.symbol, self.batch).and_then(|d| d.known());
        let mut wanted = Vec::new();
        for (i, shape) in shapes.iter().enumerate() {
            let Some(shape) = shape else { continue };
            let axis = shape.len().checked_sub(from_end);
            let Some((axis, Dim::Known(n))) = axis.map(|a| (a, &shape[a])) else {
                continue;
            };
            if joins || (*n > 1 && Some(*n) == size) {
                wanted.push((i, axis));
            }
        }
        if wanted.is_empty() {
            return Ok(index);
        }
        let added = graph.nodes.len();
        for (i, axis) in wanted {
            let input = graph.nodes[index].input(i).ok_or("an input is missing")?;
            let open = (dim == self.open()).then_some(axis).filter(|_| joins);
            let narrow = self.narrowed(graph, input, axis)?;
            let narrow = match open {
                Some(axis) => self.expanded(graph, narrow, axis)?,
                None if joins => return Err(format!("it joins to parts of {dim:?} images")),
                None => narrow,
            };
            graph.nodes[index].inputs[i] = Some(narrow);
        }
        graph
            .sort_nodes(added)
            .map_err(|_| "its inputs would wait for it".to_owned())?;
        let found = graph
            .nodes
            .iter()
            .position(|n| n.outputs.first() == Some(&output));
        found.ok_or_else(|| "it is lost".to_owned())
    }

    /// A constant that is the same for all images, for one of them.
    fn narrowed(&self, graph: &mut Graph, id: ValueId, axis: usize) -> Result<ValueId, String> {
        let name = graph.value(id).name.clone();
        let Some(tensor) = graph.constant(id) else {
            return Err(format!(
                "it reads '{name}', which does not follow the batch"
            ));
        };
        if tensor.dims()[axis] == 1 {
            return Ok(id);
        }
        let part = |i: usize| tensor.select(axis, &[i]).map_err(|e| e.to_string());
        let first: Tensor = part(0)?;
        for i in 1..tensor.dims()[axis] {
            if !part(i)?.same_bits(&first) {
                return Err(format!(
                    "it reads '{name}', which differs from image to image"
                ));
            }
        }
        Ok(graph.add_constant(&name, first))
    }

    /// A value of one image, repeated along `axis` for all of the batch.
    fn expanded(&self, graph: &mut Graph, id: ValueId, axis: usize) -> Result<ValueId, String> {
        let input = *graph.inputs.first().ok_or("there is no input")?;
        let rank = graph.value(id).shape.as_ref().map_or(0, Vec::len);
        let name = format!("{}_batch", graph.value(id).name);
        let size = |i| {
            if i == axis {
                Size::Of(input, 0)
            } else {
                Size::Known(1)
            }
        };
        let list = graph.list_sizes(&name, (0..rank).map(size).collect());
        let list = list.map_err(|e| e.to_string())?;
        let size = |i| {
            if i == axis {
                self.open()
            } else {
                Dim::Known(1)
            }
        };
        let op = Expand {
            sizes: (0..rank).map(size).collect(),
        };
        graph
            .push(&name, op.into(), &[id, list])
            .map_err(|e| e.to_string())
    }
}
