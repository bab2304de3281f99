//! `graphprune explain` and the refusal of a slower network, with the real agent and ONNX
//! Runtime.
//!
//! Times of kernels depend on the machine, so the tests check relations: the figures add up,
//! every group without a saving has a reason, and a network is refused if and only if its
//! measurement is slower.

use std::fs;
use std::process::Output;

use channels::{PrunePlan, analyse, apply, cut};
use graphprune_tests::{Sandbox, TINY};
use onnx_graph::ops::{Conv, Flatten, Gemm, GlobalAveragePool, Op, Relu};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId, write};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Channels within a block.
const WIDE: usize = 192;

struct Net {
    graph: Graph,
    rng: ChaCha8Rng,
}

impl Net {
    fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push(name, op.into(), inputs).unwrap()
    }

    fn weight(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let summed: usize = dims[1..].iter().product();
        let scale = (6.0 / summed as f32).sqrt();
        let count = dims.iter().product();
        let values = (0..count).map(|_| scale * self.rng.random_range(-1.0f32..1.0));
        let tensor = Tensor::f32(dims.to_vec(), values.collect()).unwrap();
        self.graph.add_constant(&format!("{name}.weight"), tensor)
    }

    /// A convolution (output and input channels, kernel size, stride) and an activation.
    fn conv(&mut self, name: &str, x: ValueId, dims: [usize; 4], groups: usize) -> ValueId {
        let [outputs, inputs, kernel, stride] = dims;
        let weight = self.weight(name, &[outputs, inputs, kernel, kernel]);
        let conv = Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            pads: vec![kernel / 2; 4],
            dilations: vec![1; 2],
            group: groups,
        };
        let y = self.push(name, conv, &[x, weight]);
        self.push(&format!("{name}.relu"), Relu, &[y])
    }
}

/// As [`blocks_of`], for images of 32 x 32.
fn blocks() -> Graph {
    blocks_of(Dim::Known(32))
}

/// Three blocks as in a MobileNetV2, without their additions: from 32 channels to [`WIDE`],
/// depthwise, and back.
fn blocks_of(side: Dim) -> Graph {
    let mut net = Net {
        graph: Graph::new("blocks", 17),
        rng: ChaCha8Rng::seed_from_u64(1),
    };
    let shape = vec![Dim::Symbol("N".into()), Dim::Known(3), side.clone(), side];
    let mut x = net.graph.add_input("x", DType::F32, shape);
    x = net.conv("stem", x, [32, 3, 3, 2], 1);
    for block in 0..3 {
        x = net.conv(&format!("{block}.widen"), x, [WIDE, 32, 1, 1], 1);
        x = net.conv(&format!("{block}.deep"), x, [WIDE, 1, 3, 1], WIDE);
        x = net.conv(&format!("{block}.narrow"), x, [32, WIDE, 1, 1], 1);
    }
    x = net.push("pool", GlobalAveragePool, &[x]);
    x = net.push("flat", Flatten { axis: 1 }, &[x]);
    let weight = net.weight("fc", &[10, 32]);
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let y = net.push("fc", gemm, &[x, weight]);
    net.graph.add_output(y);
    net.graph
}

/// The network with other widths of groups, by their names.
fn narrowed(graph: &Graph, widths: &[(&str, usize)]) -> Vec<u8> {
    let analysis = analyse(graph).unwrap();
    let keep = analysis.groups().iter().map(|group| {
        let given = widths.iter().find(|(name, _)| group.name == *name);
        (0..given.map_or(group.channels, |given| given.1)).collect()
    });
    let plan = PrunePlan {
        keep: keep.collect(),
    };
    let cut = cut(graph, &analysis, &plan).unwrap();
    write(&apply(graph, &cut).unwrap()).unwrap()
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{error}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The groups' savings and the remaining parts must add up to the difference in latency.
fn check_sum(explained: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    let groups = explained["groups"].as_array().unwrap();
    let of_groups: f64 = groups.iter().map(|g| number(&g["saved_ns"])).sum();
    let rest: f64 = explained["rest"]
        .as_object()
        .unwrap()
        .values()
        .map(number)
        .sum();
    let saved = number(&explained["original_ns"]) - number(&explained["pruned_ns"]);
    assert!((of_groups + rest - saved).abs() < 1.0, "{explained:#}");
}

fn group<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let groups = explained["groups"].as_array().unwrap();
    groups.iter().find(|group| group["name"] == name).unwrap()
}

#[test]
fn savings_of_groups_add_up_and_a_missing_one_has_a_reason() {
    let sandbox = Sandbox::new();
    let graph = blocks();
    fs::write(sandbox.path("original.onnx"), write(&graph).unwrap()).unwrap();
    let widths = [("0.widen", 182), ("1.widen", 96)];
    fs::write(sandbox.path("pruned.onnx"), narrowed(&graph, &widths)).unwrap();
    let files = ["explain", "original.onnx", "pruned.onnx"];
    let explained = json(
        &sandbox.run(
            &[
                &files[..],
                &["--json", "--measured-only", "--report", "why.html"],
                &["--device", "./quick.toml"],
            ]
            .concat(),
        ),
    );
    check_sum(&explained);
    for layer in explained["layers"].as_array().unwrap() {
        assert!(
            layer["after"]["ns"].as_f64().is_some(),
            "no time of {layer:#}"
        );
    }
    let untouched = group(&explained, "2.widen");
    assert_eq!(untouched["reason"], "no channel removed");
    assert_eq!(untouched["saved_ns"], 0.0);
    let half = group(&explained, "1.widen");
    assert_eq!(
        (&half["channels"], &half["kept"]),
        (&192.into(), &96.into())
    );
    assert!(
        half["reason"].is_null(),
        "half of the channels save time: {half:#}"
    );
    let odd = group(&explained, "0.widen");
    let blocked = |layer: &&Value| {
        layer["before"]["kernel"] == "Conv in blocks" && layer["after"]["kernel"] == "Conv"
    };
    if explained["layers"]
        .as_array()
        .unwrap()
        .iter()
        .any(|layer| blocked(&layer))
    {
        let reason = odd["reason"].as_str().unwrap();
        assert!(reason.contains("lost the blocked layout"), "{reason}");
        assert!(
            reason.contains("182 channels, no multiple of 4"),
            "{reason}"
        );
        assert_ne!(odd["changes"], Value::Array(Vec::new()));
    }
    let page = fs::read_to_string(sandbox.path("why.html")).unwrap();
    assert!(page.contains("0.widen") && page.ends_with("</html>\n"));
}

#[test]
fn files_that_leave_sizes_open_are_explained_once_these_are_given() {
    let sandbox = Sandbox::new();
    let graph = blocks_of(Dim::Symbol("SIDE".into()));
    fs::write(sandbox.path("net.onnx"), write(&graph).unwrap()).unwrap();
    let half = narrowed(&graph, &[("1.widen", 96)]);
    fs::write(sandbox.path("half.onnx"), half).unwrap();
    let files = [
        "explain",
        "net.onnx",
        "half.onnx",
        "--measured-only",
        "--json",
        "--device",
        "./quick.toml",
    ];
    let open = sandbox.run(&files);
    let error = String::from_utf8_lossy(&open.stderr);
    assert_eq!(open.status.code(), Some(1), "{error}");
    assert!(error.contains("--input-size x=1x3xHEIGHTxWIDTH"), "{error}");
    let sized = |size: &str| sandbox.run(&[&files[..], &["--input-size", size]].concat());
    let sized_report = json(&sized("x=1x3x32x32"));
    check_sum(&sized_report);
    assert_eq!(group(&sized_report, "1.widen")["kept"], 96);
    assert_eq!(sized("y=1x3x32x32").status.code(), Some(2));
}

#[test]
fn other_networks_and_folders_without_a_result_are_refused_by_name() {
    let sandbox = Sandbox::new();
    let graph = blocks();
    fs::write(sandbox.path("net.onnx"), write(&graph).unwrap()).unwrap();
    fs::write(
        sandbox.path("half.onnx"),
        narrowed(&graph, &[("0.widen", 96)]),
    )
    .unwrap();
    fs::write(
        sandbox.path("other.onnx"),
        graphprune_tests::zoo_bytes("resnet20"),
    )
    .unwrap();
    fs::create_dir(sandbox.path("empty")).unwrap();
    fs::create_dir(sandbox.path("begun")).unwrap();
    fs::write(sandbox.path("begun/config.toml"), TINY).unwrap();
    let check = |args: &[&str], needles: &[&str]| {
        let output = sandbox.run(&[&["explain", "--measured-only"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        for needle in needles {
            assert!(error.contains(needle), "{args:?}: no '{needle}' in {error}");
        }
    };
    check(
        &["net.onnx", "other.onnx"],
        &["other.onnx", "not a pruned form", "net.onnx"],
    );
    check(
        &["half.onnx", "net.onnx"],
        &["not a pruned form", "Give the original first"],
    );
    check(&["empty"], &["holds no run"]);
    check(&["begun"], &["holds no finished run", "--resume"]);
}

/// A run by MACs in which every admissible width breaks the blocks of kernels on an x86-64
/// processor.
#[test]
fn a_result_is_refused_if_and_only_if_its_measurement_is_slower() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), write(&blocks()).unwrap()).unwrap();
    // Multiples of 91 from 0.9 of 192 on: 182.
    let odd = format!("{TINY}baselines = []\n[finetune.sgd]\nlr = 1e-4\n")
        .replace("max_choices = 5", "min_keep = 0.9\nmultiple = 91")
        .replace("strategy = \"ddpg\"", "strategy = \"random\"");
    fs::write(sandbox.path("odd.toml"), odd).unwrap();
    let output = sandbox.run(&[
        "prune", "net.onnx", "--config", "odd.toml", "--macs", "0.96", "--out", "run",
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    let report = fs::read(sandbox.path("run/report.json")).unwrap_or_else(|_| panic!("{error}"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let pruned = rows.iter().find(|row| row["label"] == "pruned").unwrap();
    let low = pruned["latency"]["ratio_low"].as_f64().unwrap();
    let [result, refused] = ["run/pruned.onnx", "run/pruned.refused.onnx"].map(|f| sandbox.path(f));
    assert_eq!((result.exists(), refused.exists()), (low <= 1.0, low > 1.0));
    if low <= 1.0 {
        assert!(output.status.success(), "{error}");
        eprintln!("skipped: odd widths are no slower on this machine ({low})");
        return;
    }
    let resume = ["prune", "--out", "run", "--resume"];
    for output in [output, sandbox.run(&resume)] {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{error}");
        for needle in [
            "it is slower and is refused",
            "pruned.refused.onnx",
            "explain run",
            "--allow-slower",
        ] {
            assert!(error.contains(needle), "no '{needle}' in {error}");
        }
    }
    let explained = json(&sandbox.run(&["explain", "run", "--measured-only", "--json"]));
    check_sum(&explained);
    assert!(
        explained["ratio"][1].as_f64().unwrap() > 1.0,
        "{}",
        explained["ratio"]
    );

    let taken = sandbox.run(&[&resume[..], &["--force"]].concat());
    assert!(
        taken.status.success(),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    assert!(result.exists() && !refused.exists());
    let again = sandbox.run(&resume);
    assert!(again.status.success(), "what was taken stays taken");
    sandbox.check_result(&again, "run");
}
