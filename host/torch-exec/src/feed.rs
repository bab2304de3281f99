//! The inputs of a network out of a batch of samples.
//!
//! Everything above this crate handles a batch as one tensor with a row for each sample. A network
//! with one input gets it in the shape that it declares. Of a network with several, a row holds the
//! inputs one after the other, flattened, in the order of the graph.

use onnx_graph::{DType, Dim, Graph, ValueId};
use tch::{Kind, TchError, Tensor};

use crate::ExecError;

/// An input of a network.
struct Port {
    /// Sizes besides the batch; `None` if one of them is open.
    dims: Option<Vec<i64>>,
    /// The axis of the batch.
    batch: i64,
    kind: Kind,
}

impl Port {
    fn new(graph: &Graph, id: ValueId) -> Result<Self, ExecError> {
        let value = graph.value(id);
        let kind = match value.dtype {
            None | Some(DType::F32) => Kind::Float,
            Some(DType::I64) => Kind::Int64,
            Some(DType::I32) => Kind::Int,
            Some(DType::Bool) => Kind::Bool,
            Some(dtype) => {
                let name = value.name.clone();
                return Err(ExecError::InputType { name, dtype });
            }
        };
        let dims = graph.sample_shape(id).and_then(|dims| {
            let known = dims.iter().map(Dim::known);
            known.map(|dim| i64::try_from(dim?).ok()).collect()
        });
        let batch = graph.batch_axis(id) as i64;
        Ok(Self { dims, batch, kind })
    }

    fn size(&self) -> Option<i64> {
        self.dims.as_ref().map(|dims| dims.iter().product())
    }
}

/// How a batch becomes the inputs of a network.
pub(crate) struct Feed {
    ports: Vec<Port>,
}

impl Feed {
    /// The inputs of a graph.
    ///
    /// # Errors
    /// [`ExecError::InputType`] for a type that samples cannot hold, [`ExecError::Inputs`] where
    /// there is no input, or one of several has no known size.
    pub fn new(graph: &Graph) -> Result<Self, ExecError> {
        let inputs = graph.inputs();
        let ports: Vec<Port> = inputs
            .iter()
            .map(|&id| Port::new(graph, id))
            .collect::<Result<_, _>>()?;
        let open = ports.iter().any(|port| port.dims.is_none());
        if ports.is_empty() || (ports.len() > 1 && open) {
            let names = inputs.iter().map(|&id| graph.value(id).name.clone());
            return Err(ExecError::Inputs {
                count: ports.len(),
                names: names.collect(),
            });
        }
        Ok(Self { ports })
    }

    /// The inputs for a batch, in the order of the graph.
    pub fn inputs(&self, batch: &Tensor) -> Result<Vec<Tensor>, TchError> {
        if let [port] = &self.ports[..] {
            return Ok(vec![shaped(batch, port)?.f_to_kind(port.kind)?]);
        }
        let rows = batch.f_flatten(1, -1)?;
        let (mut from, mut inputs) = (0, Vec::with_capacity(self.ports.len()));
        for port in &self.ports {
            let size = port.size().unwrap_or(0);
            let part = rows.f_narrow(1, from, size)?;
            inputs.push(shaped(&part, port)?.f_to_kind(port.kind)?);
            from += size;
        }
        Ok(inputs)
    }
}

/// The rows of a batch in the shape of an input, with the batch on its axis. What does not fit
/// stays as it is: the first operator that reads it names the sizes.
fn shaped(rows: &Tensor, port: &Port) -> Result<Tensor, TchError> {
    let (Some(dims), Some(&count)) = (&port.dims, rows.size().first()) else {
        return Ok(rows.shallow_clone());
    };
    let fits = rows.size().get(1..) == Some(&dims[..]);
    let elements: i64 = rows.size().iter().product();
    if !fits && Some(elements) != port.size().map(|size| size * count) {
        return Ok(rows.shallow_clone());
    }
    let shape: Vec<i64> = std::iter::once(count).chain(dims.iter().copied()).collect();
    match (fits, port.batch) {
        (true, 0) => Ok(rows.shallow_clone()),
        (_, 0) => rows.f_reshape(shape),
        (_, axis) => rows.f_reshape(shape)?.f_movedim_int(0, axis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(inputs: &[(&str, DType, &[usize])]) -> Graph {
        let mut graph = Graph::new("fed", 17);
        for (name, dtype, dims) in inputs {
            let open = std::iter::once(Dim::Symbol("N".into()));
            let shape = open.chain(dims.iter().map(|&dim| Dim::Known(dim)));
            graph.add_input(name, *dtype, shape.collect());
        }
        graph
    }

    fn check(inputs: &[(&str, DType, &[usize])], batch: &[i64], expected: &[(&[i64], Kind)]) {
        let batch = Tensor::arange(
            batch.iter().product::<i64>(),
            (Kind::Float, tch::Device::Cpu),
        )
        .reshape(batch);
        let got = Feed::new(&graph(inputs)).unwrap().inputs(&batch).unwrap();
        let forms: Vec<(Vec<i64>, Kind)> = got.iter().map(|t| (t.size(), t.kind())).collect();
        let expected: Vec<(Vec<i64>, Kind)> =
            expected.iter().map(|(s, k)| (s.to_vec(), *k)).collect();
        assert_eq!(forms, expected);
        // Nothing is lost: the rows of all inputs side by side are those of the batch.
        let row = |t: &Tensor| t.to_kind(Kind::Float).reshape([t.size()[0], -1]);
        let rows: Vec<Tensor> = got.iter().map(row).collect();
        assert_eq!(Tensor::cat(&rows, 1), row(&batch));
    }

    #[test]
    fn a_row_of_a_batch_holds_the_inputs_one_after_the_other() {
        let (float, int) = (DType::F32, DType::I64);
        check(
            &[("x", float, &[3, 4, 4])],
            &[2, 3, 4, 4],
            &[(&[2, 3, 4, 4], Kind::Float)],
        );
        check(
            &[("x", float, &[1, 6])],
            &[2, 1, 1, 6],
            &[(&[2, 1, 6], Kind::Float)],
        );
        check(
            &[
                ("x", float, &[2, 3]),
                ("at", int, &[2]),
                ("scale", float, &[]),
            ],
            &[5, 1, 1, 9],
            &[
                (&[5, 2, 3], Kind::Float),
                (&[5, 2], Kind::Int64),
                (&[5], Kind::Float),
            ],
        );
    }

    #[test]
    fn a_batch_on_another_axis_gets_there() {
        let mut graph = Graph::new("fed", 17);
        let sizes = [Dim::Known(3), Dim::Symbol("batch".into()), Dim::Known(2)];
        graph.add_input("x", DType::F32, sizes.to_vec());
        let samples = Tensor::arange(24, (Kind::Float, tch::Device::Cpu)).reshape([4, 1, 1, 6]);
        let input = Feed::new(&graph)
            .unwrap()
            .inputs(&samples)
            .unwrap()
            .remove(0);
        assert_eq!(input.size(), [3, 4, 2]);
        // The second sample, and the second of its three steps.
        assert_eq!(
            Vec::<f32>::try_from(&input.get(1).get(1)).unwrap(),
            [8.0, 9.0]
        );
    }

    #[test]
    fn inputs_that_a_row_cannot_hold_are_refused_by_name() {
        let refused = Feed::new(&graph(&[("x", DType::U8, &[3])])).err().unwrap();
        assert!(refused.to_string().contains("'x'"), "{refused}");
        let mut open = graph(&[("x", DType::F32, &[3])]);
        open.add_input(
            "y",
            DType::F32,
            vec![Dim::Symbol("N".into()), Dim::Symbol("T".into())],
        );
        let refused = Feed::new(&open).err().unwrap();
        assert!(refused.to_string().contains("\"y\""), "{refused}");
    }
}
