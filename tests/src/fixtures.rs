//! Files and programs for tests of whole runs.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use onnx_graph::ops::{Conv, Flatten, GlobalAveragePool, Op, Transpose};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId};

/// Returns a program of this workspace, built in the profile of the running test.
///
/// # Panics
/// When it has not been built; `cargo xtask test` builds it first.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run cargo build --package {name} first",
        path.display()
    );
    path
}

/// Returns a zoo network for ten classes of 32x32 images as an ONNX file.
///
/// # Panics
/// When the zoo has no such network.
#[must_use]
pub fn zoo_bytes(name: &str) -> Vec<u8> {
    let graph: Graph =
        model_zoo::build(name, &model_zoo::ZooConfig::default()).expect("the zoo's network builds");
    onnx_graph::write(&graph).expect("the zoo's network is written")
}

/// Returns a network for ten classes whose input has the channels last, as in TensorFlow.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn channels_last_model() -> Vec<u8> {
    let mut graph = Graph::new("channels_last", 17);
    let sizes = [32, 32, 3].map(Dim::Known);
    let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
    let x = graph.add_input("x", DType::F32, shape);
    let weight = graph.add_constant(
        "w",
        Tensor::f32([10, 3, 1, 1], vec![0.5; 30]).expect("30 elements"),
    );
    let turn = Transpose {
        perm: vec![0, 3, 1, 2],
    };
    let conv = Conv {
        kernel: vec![1; 2],
        strides: vec![1; 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let mut push = |name: &str, op: Op, inputs: &[ValueId]| {
        graph.push(name, op, inputs).expect("the shapes fit")
    };
    let image = push("turn", turn.into(), &[x]);
    let y = push("conv", conv.into(), &[image, weight]);
    let y = push("pool", GlobalAveragePool.into(), &[y]);
    let y = push("flat", Flatten { axis: 1 }.into(), &[y]);
    graph.add_output(y);
    onnx_graph::write(&graph).expect("the network is written")
}

/// Returns a small network as PyTorch exports it, by its name in `exports`.
///
/// # Panics
/// When there is no such file.
#[must_use]
pub fn exported(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("exports");
    let file = fs::File::open(folder.join(format!("{name}.onnx.gz"))).expect("an export");
    let mut bytes = Vec::new();
    let mut zipped = flate2::read::GzDecoder::new(file);
    zipped.read_to_end(&mut bytes).expect("a whole file");
    bytes
}

/// Writes MNIST's four files with `count` blank images each.
///
/// # Panics
/// When they cannot be written.
pub fn write_idx(dir: &Path, count: u32) {
    for part in ["train", "t10k"] {
        let mut images = vec![0, 0, 8, 3];
        for size in [count, 28, 28] {
            images.extend(size.to_be_bytes());
        }
        images.resize(images.len() + count as usize * 28 * 28, 0);
        let mut labels = vec![0, 0, 8, 1];
        labels.extend(count.to_be_bytes());
        labels.extend((0..count).map(|i| (i % 10) as u8));
        for (kind, bytes) in [("images-idx3", images), ("labels-idx1", labels)] {
            let path = dir.join(format!("{part}-{kind}-ubyte"));
            fs::write(path, bytes).expect("the folder is writable");
        }
    }
}

/// Writes a folder of `count` small PNG images per class below `train` and `test`.
///
/// # Panics
/// When it cannot be written.
pub fn write_image_folder(dir: &Path, classes: &[&str], count: usize) {
    for part in ["train", "test"] {
        for (c, class) in classes.iter().enumerate() {
            let folder = dir.join(part).join(class);
            fs::create_dir_all(&folder).expect("the folder is writable");
            for i in 0..count {
                let shade = (c * 90 + i) as u8;
                let image =
                    image::RgbImage::from_pixel(40, 40, image::Rgb([shade, 255 - shade, 128]));
                image
                    .save(folder.join(format!("{i}.png")))
                    .expect("the folder is writable");
            }
        }
    }
}

/// Returns a model whose only weight is declared to be in the file `location`.
#[must_use]
pub fn model_with_external_data(location: &str) -> Vec<u8> {
    // Field numbers of onnx.proto3: a length-delimited field is `number << 3 | 2`, its length,
    // its bytes.
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.push(number << 3 | 2);
        assert!(bytes.len() < 128, "one byte of length is enough here");
        out.push(bytes.len() as u8);
        out.extend(bytes);
    }
    let mut entry = Vec::new();
    field(&mut entry, 1, b"location");
    field(&mut entry, 2, location.as_bytes());
    let mut tensor = vec![8, 4, 16, 1]; // dims = [4], data_type = FLOAT
    field(&mut tensor, 8, b"weight");
    field(&mut tensor, 13, &entry);
    tensor.extend([14 << 3, 1]); // data_location = EXTERNAL
    let mut graph = Vec::new();
    field(&mut graph, 2, b"net");
    field(&mut graph, 5, &tensor);
    let mut opset = Vec::new();
    opset.extend([16, 17]); // version = 17
    let mut model = vec![8, 8]; // ir_version = 8
    field(&mut model, 7, &graph);
    field(&mut model, 8, &opset);
    model
}
