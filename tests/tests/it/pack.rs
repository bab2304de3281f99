//! `graphprune pack` and `unpack`, and the small program that unpacks on a device.

use std::fs;
use std::process::{Command, Output};

use graphprune_tests::{Sandbox, binary};
use onnx_graph::ops::{Add, Conv, Gemm, GlobalAveragePool, Op, Relu, Reshape};
use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, ValueId, deploy, read, write};
use serde_json::Value;

const IMAGE: usize = 32;
const CLASSES: usize = 10;
const DATA: &str = "shapes:train=60,test=40,search=10";

/// Four layers and a shared constant, for batches of two; `broken` takes the place of a weight.
fn network(broken: Option<f32>) -> Vec<u8> {
    let mut graph = Graph::new("small", 17);
    let shape = [2, 3, IMAGE, IMAGE].map(Dim::Known);
    let x = graph.add_input("pixels", DType::F32, shape.to_vec());
    let mut constant = |name: &str, dims: &[usize]| {
        let count: usize = dims.iter().product();
        let spread = 1.5 / (count as f32 / dims[0] as f32).sqrt();
        let value = |i: usize| ((i * 7919 % 2003) as f32 / 1001.5 - 1.0).powi(3) * spread;
        let mut values: Vec<f32> = (0..count).map(value).collect();
        if let Some(broken) = broken.filter(|_| name == "w2") {
            values[7] = broken;
        }
        graph.add_constant(name, Tensor::f32(dims, values).expect("as many as sizes"))
    };
    let w = [
        constant("w1", &[12, 3, 3, 3]),
        constant("w2", &[12, 12, 3, 3]),
        constant("w3", &[12, 1, 3, 3]),
        constant("w4", &[CLASSES, 12]),
    ];
    let bias = constant("bias", &[CLASSES]);
    let table = constant("table", &[12, IMAGE / 2, IMAGE / 2]);
    let conv = |stride: usize, group: usize| Conv {
        kernel: vec![3; 2],
        strides: vec![stride; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group,
    };
    let rows = Reshape {
        target: vec![2, 12],
        allow_zero: false,
    };
    let fc = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let mut push = |name: &str, op: Op, inputs: &[ValueId]| {
        graph.push(name, op, inputs).expect("the shapes fit")
    };
    let y = push("conv1", conv(2, 1).into(), &[x, w[0]]);
    let y = push("add", Add.into(), &[y, table]);
    let y = push("relu1", Relu.into(), &[y]);
    let y = push("conv2", conv(1, 1).into(), &[y, w[1]]);
    let y = push("relu2", Relu.into(), &[y]);
    let y = push("conv3", conv(1, 12).into(), &[y, w[2]]);
    let y = push("pool", GlobalAveragePool.into(), &[y]);
    let y = push("rows", rows.into(), &[y]);
    let y = push("fc", fc.into(), &[y, w[3], bias]);
    graph.add_output(y);
    write(&graph).expect("the network is written")
}

struct Folder(Sandbox);

impl Folder {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        fs::write(sandbox.path("model.onnx"), network(None)).unwrap();
        Self(sandbox)
    }

    fn run(&self, args: &[&str], code: i32) -> Output {
        let output = self.0.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        output
    }

    /// The command must fail with `needles` on standard error, and write no file `absent`.
    fn refuse(&self, args: &[&str], code: i32, (needles, absent): (&[&str], &str)) -> String {
        let output = self.run(args, code);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        for needle in needles {
            assert!(error.contains(needle), "{args:?}: no '{needle}' in {error}");
        }
        assert!(!self.0.path(absent).exists(), "{args:?}: {absent} exists");
        error
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path(name)).unwrap()
    }

    /// Packs `model.onnx` and returns the container and the answer.
    fn pack(&self, options: &[&str]) -> (Vec<u8>, Value) {
        let args = [&["pack", "model.onnx", "--json", "--quiet"], options].concat();
        let answer = self.run(&args, 0).stdout;
        let container = self.read("model.gpw");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["bytes"], container.len());
        (container, answer)
    }

    /// Unpacks a file with both programs and returns what both restore.
    fn unpack(&self, file: &str, options: &[&str]) -> Vec<u8> {
        let args = [&["unpack", file, "--out", "host.onnx"], options].concat();
        self.run(&args, 0);
        let mut device = Command::new(binary("graphprune-unpack"));
        device.current_dir(self.0.path(""));
        let output = device.args([file, "device.onnx"]).args(options).output();
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let restored = self.read("host.onnx");
        assert!(restored == self.read("device.onnx"), "they differ");
        restored
    }
}

/// The file that is packed.
fn deployed() -> Vec<u8> {
    let graph = read(&network(None), &NoExternalData).unwrap();
    deploy(&graph, None).unwrap().bytes
}

#[test]
fn both_programs_restore_the_packed_network() {
    let folder = Folder::new();
    let data = ["--data", DATA];
    let cases: &[&[&str]] = &[
        &["--lossless"],
        &["--bits", "4"],
        &["--bits", "2"],
        &["--bytes", "14k"],
        &["--surp", "40%"],
        &["--surp-bytes", "13500"],
    ];
    let original = read(&deployed(), &NoExternalData).unwrap();
    for &form in cases {
        for with in [&[][..], &data] {
            let options = [form, with].concat();
            let (container, answer) = folder.pack(&options);
            assert!(container.len() < deployed().len(), "{options:?}");
            let restored = folder.unpack("model.gpw", &[]);
            let is_lossless = form == ["--lossless"];
            assert_eq!(restored == deployed(), is_lossless, "{options:?}");
            let network = read(&restored, &NoExternalData).unwrap();
            for (id, tensor) in network.constants() {
                let name = &network.value(*id).name;
                let mut all = original.constants().iter();
                let (_, before) = all
                    .find(|(id, _)| original.value(**id).name == *name)
                    .unwrap();
                let is_weight = name.starts_with('w');
                assert_eq!(before.dims(), tensor.dims());
                assert!(is_weight || before == tensor, "{options:?}: {name} differs");
            }
            let quality = &answer["quality"];
            assert_eq!(quality.is_null(), with.is_empty(), "{options:?}");
            if is_lossless && !quality.is_null() {
                assert_eq!(quality["agreement"], 1.0);
                assert_eq!(quality["accuracy"], quality["original_accuracy"]);
                assert_eq!(quality["test_images"], 40);
            }
        }
    }
}

#[test]
fn a_form_stores_each_tensor_as_it_says() {
    let folder = Folder::new();
    let methods = |options: &[&str]| {
        let (_, answer) = folder.pack(options);
        let tensors = answer["tensors"].as_array().unwrap().clone();
        let tensor = |tensor: &Value| {
            let [name, method] = ["name", "method"].map(|key| tensor[key].as_str().unwrap());
            let bits = tensor["bits"].as_u64();
            format!("{name} {method} {}", bits.unwrap_or(0))
        };
        tensors.iter().map(tensor).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        methods(&["--bits", "3"]),
        "w1 nearest 8, w2 nearest 3, w3 nearest 3, w4 nearest 8, table lossless 0"
    );
    assert_eq!(
        methods(&["--bits", "3", "--data", DATA]),
        "w1 gptq 8, w2 gptq 3, w3 gptq 3, w4 gptq 8, table lossless 0"
    );
    assert_eq!(
        methods(&["--surp", "0.5", "--data", DATA]),
        "w1 gptq 8, w2 refined 0, w3 refined 0, w4 gptq 8, table lossless 0"
    );
    assert_eq!(
        methods(&["--lossless"]),
        "w1 lossless 0, w2 lossless 0, w3 lossless 0, w4 lossless 0, table lossless 0"
    );
}

#[test]
fn equal_seeds_give_equal_containers() {
    let folder = Folder::new();
    for form in [&["--bytes", "14k"][..], &["--surp", "0.3"]] {
        let options = [form, &["--data", DATA, "--seed", "4"]].concat();
        let [first, second] = [0, 1].map(|_| folder.pack(&options).0);
        assert!(first == second, "{form:?}");
        let other = [form, &["--data", DATA, "--seed", "5", "--images", "20"]].concat();
        assert!(first != folder.pack(&other).0, "{form:?}");
    }
}

#[test]
fn a_size_is_held_or_refused_with_the_least_one() {
    let folder = Folder::new();
    for option in ["--bytes", "--surp-bytes"] {
        let args = ["pack", "model.onnx", option, "5k"];
        let needles = ["model 'model'", "5000 bytes", "prune"];
        let error = folder.refuse(&args, 3, (&needles, "model.gpw"));
        let (_, rest) = error.split_once("the smallest container has ").unwrap();
        let least = rest.split(' ').next().unwrap();
        let (container, _) = folder.pack(&[option, least]);
        assert!(container.len() <= least.parse().unwrap(), "{option}");
        let (larger, _) = folder.pack(&[option, "13800"]);
        let sizes = (container.len(), larger.len());
        assert!(
            sizes.0 < sizes.1 && sizes.1 <= 13_800,
            "{option}: {sizes:?}"
        );
        fs::remove_file(folder.0.path("model.gpw")).unwrap();
    }
}

#[test]
fn each_beginning_of_a_refined_network_is_a_network() {
    let folder = Folder::new();
    let (container, _) = folder.pack(&["--surp", "0.8"]);
    let whole = folder.unpack("model.gpw", &[]);
    assert!(folder.unpack("model.gpw", &["--prefix"]) == whole);
    let zeros = |file: &[u8]| {
        let graph = read(file, &NoExternalData).unwrap();
        let mut all = graph.constants().iter();
        let (_, weight) = all.find(|(id, _)| graph.value(**id).name == "w2").unwrap();
        let values = weight.as_f32().unwrap().iter();
        values.filter(|value| **value == 0.0).count()
    };
    let mut last = usize::MAX;
    for left in [1000, 500, 0] {
        let beginning = &container[..container.len() - left];
        fs::write(folder.0.path("part.gpw"), beginning).unwrap();
        let pruned = zeros(&folder.unpack("part.gpw", &["--prefix"]));
        assert!(pruned < last, "{pruned} zeros without {left} bytes");
        last = pruned;
    }
    fs::write(folder.0.path("part.gpw"), &container[..container.len() - 9]).unwrap();
    let args = ["unpack", "part.gpw", "--out", "out.onnx"];
    folder.refuse(&args, 1, (&["'part.gpw'", "truncated"], "out.onnx"));
}

#[test]
fn retraining_between_rounds_trains_what_is_left_and_leaves_a_refinable_stream() {
    let folder = Folder::new();
    let options = ["--surp", "0.6", "--data", DATA];
    let (plain, _) = folder.pack(&options);
    let (trained, _) = folder.pack(&[&options[..], &["--retrain-epochs", "1"]].concat());
    assert!(plain != trained, "nothing was trained");
    let whole = folder.unpack("model.gpw", &[]);
    fs::write(folder.0.path("part.gpw"), &trained[..trained.len() - 300]).unwrap();
    let part = folder.unpack("part.gpw", &["--prefix"]);
    assert!(part != whole && part.len() == whole.len());
    let files = fs::read_dir(folder.0.path("")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.contains("safetensors")).collect();
    assert_eq!(left, [""; 0], "checkpoints are left");
    let args = ["pack", "model.onnx", "--retrain-epochs", "1"];
    for form in [&["--bits", "4", "--data", DATA][..], &["--surp", "0.6"]] {
        let args = [&args[..], &["--out", "x.gpw"], form].concat();
        folder.refuse(&args, 2, (&["--surp", "--data"], "x.gpw"));
    }
}

#[test]
fn weights_that_are_no_numbers_are_stored_bit_by_bit_or_refused() {
    let folder = Folder::new();
    for broken in [f32::NAN, f32::INFINITY] {
        fs::write(folder.0.path("model.onnx"), network(Some(broken))).unwrap();
        for form in [
            &["--bits", "4"][..],
            &["--bytes", "15k"],
            &["--surp", "0.5"],
        ] {
            let args = [&["pack", "model.onnx"], form].concat();
            folder.refuse(
                &args,
                1,
                (&["'model'", "tensor w2", "value 7"], "model.gpw"),
            );
        }
        folder.pack(&["--lossless"]);
        let restored = folder.unpack("model.gpw", &[]);
        let graph = read(&restored, &NoExternalData).unwrap();
        let mut all = graph.constants().iter();
        let (_, weight) = all.find(|(id, _)| graph.value(**id).name == "w2").unwrap();
        let value = weight.as_f32().unwrap()[7];
        assert_eq!(value.to_bits(), broken.to_bits());
        fs::remove_file(folder.0.path("model.gpw")).unwrap();
    }
}

#[test]
fn files_that_are_no_networks_and_containers_that_are_damaged_are_named() {
    let folder = Folder::new();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.0.path(name), bytes).unwrap();
    write("no.onnx", b"no model");
    let pack = |file| ["pack", file, "--lossless", "--out", "x.gpw"];
    folder.refuse(&pack("no.onnx"), 1, (&["no.onnx"], "x.gpw"));
    folder.refuse(&pack("none.onnx"), 1, (&["none.onnx"], "x.gpw"));
    let (container, _) = folder.pack(&["--bits", "4"]);
    write("cut.gpw", &container[..container.len() / 2]);
    let unpack = |file| ["unpack", file, "--out", "x.onnx"];
    folder.refuse(&unpack("cut.gpw"), 1, (&["cut.gpw", "damaged"], "x.onnx"));
    let needles = ["model.onnx", "not a container"];
    folder.refuse(&unpack("model.onnx"), 1, (&needles, "x.onnx"));
    folder.refuse(&unpack("none.gpw"), 1, (&["none.gpw"], "x.onnx"));
    let limited = [&unpack("model.gpw")[..], &["--limit", "0"]].concat();
    folder.refuse(&limited, 1, (&["model.gpw", "limit of 0"], "x.onnx"));
    let data = ["--data", "shapes:train=50,test=20,classes=3"];
    let args = [&pack("model.onnx")[..], &data].concat();
    folder.refuse(&args, 2, (&["shapes"], "x.gpw"));
}

#[test]
fn a_network_with_one_layer_between_the_ends_is_the_least_that_is_refined() {
    let folder = Folder::new();
    let mut graph = Graph::new("two", 17);
    let x = graph.add_input("x", DType::F32, [1, 8].map(Dim::Known).to_vec());
    let mut y = x;
    for layer in 0..2 {
        let values = (0..64).map(|i| i as f32 * 0.1).collect();
        let w = graph.add_constant(&format!("w{layer}"), Tensor::f32([8, 8], values).unwrap());
        let name = format!("fc{layer}");
        y = graph.push(&name, Gemm::default().into(), &[y, w]).unwrap();
    }
    graph.add_output(y);
    fs::write(folder.0.path("model.onnx"), write(&graph).unwrap()).unwrap();
    let args = ["pack", "model.onnx", "--surp", "0.5"];
    let needles = ["model 'model'", "between its first and its last layer"];
    folder.refuse(&args, 1, (&needles, "model.gpw"));
    // It is no classifier of images, which only data need.
    folder.pack(&["--bits", "5"]);
    let args = ["pack", "model.onnx", "--bits", "5", "--data", DATA];
    folder.refuse(&args, 1, (&["image"], "x.gpw"));
}
