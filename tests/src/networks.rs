//! Small networks of other kinds than image classifiers, with random weights, and samples for them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use onnx_graph::ops::{
    Concat, Conv, Flatten, Gemm, GlobalAveragePool, MatMul, Op, Opaque, Relu, Reshape, Sigmoid,
    Softmax, Squeeze, Transpose,
};
use onnx_graph::{Attribute, AttributeValue, DType, Dim, Graph, Tensor, TensorData, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A network in the making.
pub(crate) struct Network {
    graph: Graph,
    rng: ChaCha8Rng,
}

impl Network {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            graph: Graph::new(name, 17),
            rng: ChaCha8Rng::seed_from_u64(1),
        }
    }

    pub(crate) fn input(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let open = std::iter::once(Dim::Symbol("N".into()));
        let shape = open.chain(dims.iter().map(|&dim| Dim::Known(dim)));
        self.graph.add_input(name, DType::F32, shape.collect())
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.push(name, op, inputs).expect("the shapes fit")
    }

    fn weight(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let fan_in: usize = dims[1..].iter().product();
        let scale = (6.0 / fan_in as f32).sqrt();
        let count = dims.iter().product();
        let values = (0..count).map(|_| (self.rng.random::<f32>() * 2.0 - 1.0) * scale);
        let tensor = Tensor::f32(dims.to_vec(), values.collect()).expect("as many as elements");
        self.graph.add_constant(name, tensor)
    }

    /// A convolution over any number of axes, padded by half its kernel.
    pub(crate) fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        (from, to): (usize, usize),
        (kernel, stride): (&[usize], usize),
    ) -> ValueId {
        let dims: Vec<usize> = [to, from]
            .into_iter()
            .chain(kernel.iter().copied())
            .collect();
        let weight = self.weight(&format!("{name}.weight"), &dims);
        let half: Vec<usize> = kernel.iter().map(|k| k / 2).collect();
        let op = Conv {
            kernel: kernel.to_vec(),
            strides: vec![stride; kernel.len()],
            pads: [&half[..], &half[..]].concat(),
            dilations: vec![1; kernel.len()],
            group: 1,
        };
        self.push(name, op.into(), &[x, weight])
    }

    pub(crate) fn relu(&mut self, name: &str, x: ValueId) -> ValueId {
        self.push(&format!("{name}.relu"), Relu.into(), &[x])
    }

    pub(crate) fn dense(&mut self, name: &str, x: ValueId, (from, to): (usize, usize)) -> ValueId {
        let weight = self.weight(&format!("{name}.weight"), &[to, from]);
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.push(name, op.into(), &[x, weight])
    }

    pub(crate) fn pooled(&mut self, x: ValueId) -> ValueId {
        let x = self.push("pool", GlobalAveragePool.into(), &[x]);
        self.push("flat", Flatten { axis: 1 }.into(), &[x])
    }

    /// A recurrent layer of ONNX over `[T, N, from]`: `[T, 1, N, to]`.
    fn lstm(&mut self, name: &str, x: ValueId, (from, to): (usize, usize)) -> ValueId {
        let weight = self.weight(&format!("{name}.weight"), &[1, 4 * to, from]);
        let recurrence = self.weight(&format!("{name}.recurrence"), &[1, 4 * to, to]);
        let hidden = Attribute {
            name: "hidden_size".into(),
            value: AttributeValue::Int(to as i64),
        };
        let op = Opaque {
            op_type: "LSTM".into(),
            attributes: vec![hidden],
            ..Opaque::default()
        };
        self.push(name, op.into(), &[x, weight, recurrence])
    }

    /// Convolutions over `x [N, 1, 4, 32]` and a recurrent layer over the steps: `[N, 32, 12]`.
    fn recurrent_states(&mut self) -> ValueId {
        let x = self.input("x", &[1, 4, 32]);
        let x = self.conv("conv1", x, (1, 16), (&[3, 3], 1));
        let x = self.relu("conv1", x);
        let x = self.conv("conv2", x, (16, 12), (&[3, 3], 1));
        let x = self.relu("conv2", x);
        let x = self.turned("steps", x, &[3, 0, 1, 2]);
        let x = self.reshaped("columns", x, &[0, 0, 48]);
        let x = self.lstm("lstm", x, (48, 12));
        let x = self.push("states", Squeeze { axes: vec![1] }.into(), &[x]);
        self.turned("batch", x, &[1, 0, 2])
    }

    fn number(&mut self, name: &str, data: TensorData) -> ValueId {
        let tensor = Tensor::new(vec![1], data).expect("one element");
        self.graph.add_constant(name, tensor)
    }

    fn reshaped(&mut self, name: &str, x: ValueId, target: &[i64]) -> ValueId {
        let op = Reshape {
            target: target.to_vec(),
            allow_zero: false,
        };
        self.push(name, op.into(), &[x])
    }

    fn turned(&mut self, name: &str, x: ValueId, perm: &[usize]) -> ValueId {
        let perm = perm.to_vec();
        self.push(name, Transpose { perm }.into(), &[x])
    }

    pub(crate) fn finish(mut self, outputs: &[ValueId]) -> Vec<u8> {
        for &output in outputs {
            self.graph.add_output(output);
        }
        onnx_graph::write(&self.graph).expect("the network is written")
    }
}

/// A network with two inputs: `image [N, 3, 8, 8]` and `side [N, 6]`, and one output of four
/// values, `head_out`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn two_input_model() -> Vec<u8> {
    let mut net = Network::new("two_inputs");
    let image = net.input("image", &[3, 8, 8]);
    let side = net.input("side", &[6]);
    let x = net.conv("conv1", image, (3, 16), (&[3, 3], 1));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[3, 3], 2));
    let x = net.relu("conv2", x);
    let x = net.pooled(x);
    let y = net.dense("side1", side, (6, 12));
    let y = net.relu("side1", y);
    let both = net.push("both", Concat { axis: 1 }.into(), &[x, y]);
    let head = net.dense("head", both, (28, 4));
    net.finish(&[head])
}

/// A network over sounds: `x [N, 1, 256]`, and the probabilities of four classes.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn audio_model() -> Vec<u8> {
    let mut net = Network::new("audio");
    let x = net.input("x", &[1, 256]);
    let x = net.conv("conv1", x, (1, 16), (&[9], 4));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 24), (&[5], 2));
    let x = net.relu("conv2", x);
    let x = net.pooled(x);
    let x = net.dense("head", x, (24, 4));
    let y = net.push("softmax", Softmax { axis: 1 }.into(), &[x]);
    net.finish(&[y])
}

/// A segmentation network: `x [N, 3, 16, 16]`, and logits of three classes for each pixel.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn segmentation_model() -> Vec<u8> {
    let mut net = Network::new("segmenter");
    let x = net.input("x", &[3, 16, 16]);
    let x = net.conv("conv1", x, (3, 16), (&[3, 3], 1));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[3, 3], 1));
    let x = net.relu("conv2", x);
    let y = net.conv("head", x, (16, 3), (&[1, 1], 1));
    net.finish(&[y])
}

/// A detector's shape: `x [N, 3, 16, 16]`, and the outputs `boxes_out [N, 8, 8, 8]` and
/// `scores_out [N, 3, 8, 8]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn detector_model() -> Vec<u8> {
    let mut net = Network::new("detector");
    let x = net.input("x", &[3, 16, 16]);
    let x = net.conv("conv1", x, (3, 16), (&[3, 3], 2));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[3, 3], 1));
    let x = net.relu("conv2", x);
    let boxes = net.conv("boxes", x, (16, 8), (&[1, 1], 1));
    let logits = net.conv("logits", x, (16, 3), (&[1, 1], 1));
    let scores = net.push("scores", Sigmoid.into(), &[logits]);
    net.finish(&[boxes, scores])
}

/// A network with the time first: `x [32, batch, 6]`, and three values for each step,
/// `steps_out [32, batch, 3]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn time_first_model() -> Vec<u8> {
    let mut net = Network::new("time_first");
    let batch = Dim::Symbol("batch".into());
    let shape = vec![Dim::Known(32), batch, Dim::Known(6)];
    let x = net.graph.add_input("x", DType::F32, shape);
    let x = net.turned("channels", x, &[1, 2, 0]);
    let x = net.conv("conv1", x, (6, 16), (&[5], 1));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[5], 1));
    let x = net.relu("conv2", x);
    let x = net.conv("head", x, (16, 3), (&[1], 1));
    let x = net.turned("steps", x, &[2, 0, 1]);
    net.finish(&[x])
}

/// A recogniser of lines in a file of one sample: `x [1, 1, 8, 32]`, and five probabilities for
/// each of its steps, `classes_out [8, 1, 5]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn recogniser_model() -> Vec<u8> {
    let mut net = Network::new("recogniser");
    let shape = [1, 1, 8, 32].map(Dim::Known).to_vec();
    let x = net.graph.add_input("x", DType::F32, shape);
    let x = net.conv("conv1", x, (1, 16), (&[3, 3], 2));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[3, 3], 2));
    let x = net.relu("conv2", x);
    let x = net.reshaped("columns", x, &[1, 32, 8]);
    let x = net.turned("steps", x, &[2, 0, 1]);
    let weight = net.weight("head.weight", &[32, 5]);
    let x = net.push("head", MatMul.into(), &[x, weight]);
    let y = net.push("classes", Softmax { axis: 2 }.into(), &[x]);
    net.finish(&[y])
}

/// A classifier of sounds with a recurrent layer over its steps: `x [N, 1, 4, 32]`, and three
/// logits, `head_out [N, 3]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn recurrent_classifier() -> Vec<u8> {
    let mut net = Network::new("recurrent_classifier");
    let x = net.recurrent_states();
    let x = net.push("rows", Flatten { axis: 1 }.into(), &[x]);
    let head = net.dense("head", x, (32 * 12, 3));
    net.finish(&[head])
}

/// A network over volumes: `x [N, 1, 8, 8, 8]`, and four values, `head_out`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn volume_model() -> Vec<u8> {
    let mut net = Network::new("volumes");
    let x = net.input("x", &[1, 8, 8, 8]);
    let x = net.conv("conv1", x, (1, 12), (&[3, 3, 3], 1));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (12, 16), (&[3, 3, 3], 2));
    let x = net.relu("conv2", x);
    let x = net.pooled(x);
    let head = net.dense("head", x, (16, 4));
    net.finish(&[head])
}

/// A network over 32 steps with convolutions before a recurrent layer: `x [N, 1, 4, 32]`, and five
/// values for each step, `head_out [N, 32, 5]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn recurrent_model() -> Vec<u8> {
    let mut net = Network::new("recurrent");
    let x = net.recurrent_states();
    let weight = net.weight("head.weight", &[12, 5]);
    let head = net.push("head", MatMul.into(), &[x, weight]);
    net.finish(&[head])
}

/// A detector that suppresses boxes itself: `x [batch, 3, 16, 16]`, with an open batch where none
/// is given, and the chosen boxes `chosen_out [boxes, 3]`.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn suppressing_model(batch: Option<usize>) -> Vec<u8> {
    let mut net = Network::new("suppressing");
    let batch = batch.map_or(Dim::Symbol("N".into()), Dim::Known);
    let sizes = [3, 16, 16].map(Dim::Known);
    let shape = std::iter::once(batch).chain(sizes).collect();
    let x = net.graph.add_input("x", DType::F32, shape);
    let x = net.conv("conv1", x, (3, 16), (&[3, 3], 2));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 16), (&[3, 3], 1));
    let x = net.relu("conv2", x);
    let boxes = net.conv("boxes", x, (16, 4), (&[1, 1], 1));
    let boxes = net.reshaped("flat_boxes", boxes, &[0, 4, 64]);
    let boxes = net.turned("turned_boxes", boxes, &[0, 2, 1]);
    let logits = net.conv("logits", x, (16, 2), (&[1, 1], 1));
    let scores = net.push("scores", Sigmoid.into(), &[logits]);
    let scores = net.reshaped("flat_scores", scores, &[0, 2, 64]);
    let most = net.number("most", TensorData::I64(vec![10]));
    let overlap = net.number("overlap", TensorData::F32(vec![0.5]));
    let least = net.number("least", TensorData::F32(vec![0.1]));
    let op = Opaque {
        op_type: "NonMaxSuppression".into(),
        ..Opaque::default()
    };
    let chosen = [boxes, scores, most, overlap, least];
    let chosen = net.push("chosen", op.into(), &chosen);
    net.finish(&[chosen])
}

/// Writes an array of floats as NumPy does.
///
/// # Panics
/// When it cannot be written.
pub fn write_npy(path: &Path, shape: &[usize], values: &[f32]) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder is made");
    fs::write(path, npy(shape, values)).expect("an array is written");
}

fn npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    let dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    out
}

/// Writes an archive of arrays as NumPy does.
///
/// # Panics
/// When it cannot be written.
pub fn write_npz(path: &Path, arrays: &[(&str, &[usize], Vec<f32>)]) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder is made");
    let file = fs::File::create(path).expect("an archive is made");
    let mut zip = zip::ZipWriter::new(file);
    for (name, shape, values) in arrays {
        let options = zip::write::FileOptions::default();
        zip.start_file(format!("{name}.npy"), options)
            .expect("a member begins");
        zip.write_all(&npy(shape, values))
            .expect("a member is written");
    }
    zip.finish().expect("an archive is finished");
}

/// Seeded values between -1 and 1.
#[must_use]
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| rng.random::<f32>() * 2.0 - 1.0)
        .collect()
}
