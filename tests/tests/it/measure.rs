//! `graphprune measure` and the guard on arbitrary files, with the real agent: external data,
//! operators without channel rules, open sizes.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Output, Stdio};

use graphprune_tests::Sandbox;
use graphprune_tests::onnx::{
    Data, bytes, graph_attribute, integer_attribute, model, node, tensor, tensor_attribute, value,
};
use serde_json::Value;

const FLOAT: u64 = 1;
const BOOL: u64 = 9;
const HALF: u64 = 10;

/// Runs the program on the quick profile and checks its exit code.
fn check(sandbox: &Sandbox, args: &[&str], code: i32) -> Output {
    let output = sandbox.run(&[args, &["--device", "./quick.toml"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}:\n{stdout}\n{error}"
    );
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Makes a graph with tensors of 64 floats in an initialiser, in a `Constant` and in the
/// subgraph of an `If`, which the pruner's reader does not accept. The weights come from `data`,
/// and one of them is in half precision.
fn graph(data: impl Fn(usize, usize) -> Data<'static>) -> Vec<u8> {
    let dims = [1, 64];
    let branch = |name: &str, weight: Option<Vec<u8>>| {
        let body = match weight {
            Some(weight) => [node("Add", &["x", "w"], name, &[]), bytes(5, &weight)].concat(),
            None => node("Identity", &["x"], name, &[]),
        };
        let sizes: Vec<_> = dims.iter().map(|&dim| Ok(dim)).collect();
        [
            body,
            bytes(2, name.as_bytes()),
            value(12, name, FLOAT, &sizes),
        ]
        .concat()
    };
    let sizes = [Ok(1), Ok(64)];
    [
        node(
            "Constant",
            &[],
            "c",
            &[tensor_attribute(
                "value",
                &tensor("c", FLOAT, &dims, &data(0, 256)),
            )],
        ),
        node("Cast", &["h"], "hf", &[integer_attribute("to", FLOAT)]),
        node(
            "If",
            &["cond"],
            "chosen",
            &[
                graph_attribute(
                    "then_branch",
                    &branch("t", Some(tensor("w", FLOAT, &dims, &data(256, 256)))),
                ),
                graph_attribute("else_branch", &branch("e", None)),
            ],
        ),
        node("Add", &["chosen", "c"], "a", &[]),
        node("Add", &["a", "hf"], "y", &[]),
        bytes(2, b"net"),
        bytes(5, &tensor("cond", BOOL, &[], &Data::Inside(&[1]))),
        bytes(5, &tensor("h", HALF, &dims, &data(512, 128))),
        value(11, "x", FLOAT, &sizes),
        value(12, "y", FLOAT, &sizes),
    ]
    .concat()
}

const ZEROS: &[u8] = &[0; 640];

/// The model with its weights in `file`.
fn outside(file: &'static str) -> Vec<u8> {
    model(&graph(|offset, length| Data::Outside(file, offset, length)))
}

/// The same model with its weights inside.
fn inside() -> Vec<u8> {
    model(&graph(|_, length| Data::Inside(&ZEROS[..length])))
}

fn digests(output: &Output) -> Vec<String> {
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let digest = |one: &Value| one["sha256"].as_str().unwrap().to_owned();
    all.iter().map(digest).collect()
}

#[test]
fn weights_in_another_file_are_measured_and_guarded_like_weights_inside() {
    let sandbox = Sandbox::new();
    let put = |name: &str, content: &[u8]| {
        let path = sandbox.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("export/net.onnx", &outside("net.onnx.data"));
    put("export/net.onnx.data", ZEROS);
    put("inside.onnx", &inside());
    put("hub/blobs/aa", &outside("net.onnx.data"));
    put("hub/blobs/bb", ZEROS);
    fs::create_dir_all(sandbox.path("hub/snapshots/rev")).unwrap();
    for (name, blob) in [("net.onnx", "aa"), ("net.onnx.data", "bb")] {
        let link = sandbox.path("hub/snapshots/rev").join(name);
        symlink(format!("../../blobs/{blob}"), link).unwrap();
    }
    let export = "export/net.onnx";
    let snapshot = "hub/snapshots/rev/net.onnx";
    let args = [
        "measure",
        "--effort",
        "0.1",
        "--json",
        "--at-most",
        "20x",
        "inside.onnx",
        export,
        snapshot,
    ];
    let measured = digests(&check(&sandbox, &args, 0));
    assert_eq!(measured.len(), 3);
    assert!(
        measured.iter().all(|digest| *digest == measured[0]),
        "{measured:?}"
    );

    // The guard stores a model without external files.
    let save = ["bench", export, "--save-baseline", "main"];
    assert!(stderr(&check(&sandbox, &save, 0)).contains("saved the baseline `main`"));
    let kept = sandbox.path(&format!(".graphprune/bench/models/{}.onnx", measured[0]));
    assert_eq!(fs::read(kept).unwrap(), inside());
    fs::remove_dir_all(sandbox.path("export")).unwrap();
    let compare = [
        "bench",
        snapshot,
        "--baseline",
        "main",
        "--fail-above",
        "900%",
        "--json",
    ];
    let output = check(&sandbox, &compare, 0);
    assert!(stderr(&output).contains("regression threshold: 900 %"));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all[0]["interleaved"], true, "{all}");
}

#[test]
fn files_are_measured_every_time_and_recorded_in_the_users_store() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), inside()).unwrap();
    for times in 1..=2 {
        check(&sandbox, &["measure", "--effort", "0.1", "net.onnx"], 0);
        let list = sandbox.run(&["measurements", "list"]);
        let list = String::from_utf8(list.stdout).unwrap();
        assert_eq!(list.matches("net.onnx").count(), times, "{list}");
    }
}

#[test]
fn unreadable_and_unmeasurable_files_are_not_saved() {
    let sandbox = Sandbox::new();
    let put = |name: &str, content: &[u8]| fs::write(sandbox.path(name), content).unwrap();
    put("net.onnx", &outside("net.onnx.data"));
    put("good.onnx", &inside());
    put("noise.onnx", b"this is no model");
    put("secret", ZEROS);
    fs::create_dir(sandbox.path("models")).unwrap();
    put("models/net.onnx", &outside("../secret"));
    for (file, needle) in [
        ("net.onnx", "`net.onnx.data` is not in"),
        ("models/net.onnx", "`../secret` lies outside the model"),
    ] {
        for args in [
            vec!["measure", file],
            vec![
                "bench",
                file,
                "--save-baseline",
                "main",
                "--junit",
                "bench.xml",
            ],
        ] {
            let error = stderr(&check(&sandbox, &args, 1));
            assert!(error.contains(file) && error.contains(needle), "{error}");
            assert!(!error.contains("saved"), "{error}");
        }
        let junit = fs::read_to_string(sandbox.path("bench.xml")).unwrap();
        assert!(
            junit.contains("errors=\"1\"") && junit.contains(needle),
            "{junit}"
        );
    }
    let error = stderr(&check(&sandbox, &["measure", "noise.onnx"], 1));
    assert!(
        error.contains("noise.onnx") && error.contains("no ONNX file"),
        "{error}"
    );

    // Nothing is measured, so nothing is saved.
    let save = ["bench", "noise.onnx", "--save-baseline", "main"];
    let error = stderr(&check(&sandbox, &save, 1));
    assert!(
        error.contains("the baseline `main` is not saved"),
        "{error}"
    );
    assert!(!sandbox.path(".graphprune/bench/main.json").exists());
    // One is measured and saved, and the others are named.
    let save = [
        "bench",
        "good.onnx",
        "noise.onnx",
        "--save-baseline",
        "main",
    ];
    let error = stderr(&check(&sandbox, &save, 1));
    assert!(
        error.contains("1 of 2 measurements are saved") && error.contains("noise on"),
        "{error}"
    );
    let main = fs::read_to_string(sandbox.path(".graphprune/bench/main.json")).unwrap();
    assert!(
        main.contains("\"good\"") && !main.contains("\"noise\""),
        "{main}"
    );
}

/// A convolution over an image of open height and width.
fn open_sizes() -> Vec<u8> {
    let weight = [0u8; 8 * 3 * 9 * 4];
    let sizes = |channels| [Err("N"), Ok(channels), Err("H"), Err("W")];
    let graph = [
        node("Conv", &["x", "w"], "y", &[]),
        bytes(2, b"net"),
        bytes(
            5,
            &tensor("w", FLOAT, &[8, 3, 3, 3], &Data::Inside(&weight)),
        ),
        value(11, "x", FLOAT, &sizes(3)),
        value(12, "y", FLOAT, &sizes(8)),
    ];
    model(&graph.concat())
}

#[test]
fn open_sizes_can_be_given_and_the_guard_stores_them() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), open_sizes()).unwrap();
    let error = stderr(&check(&sandbox, &["measure", "net.onnx"], 1));
    assert!(error.contains("--input-size x=1x3x?x?"), "{error}");
    let times: Vec<f64> = ["1x3x16x16", "x=1x3x256x256"]
        .iter()
        .map(|size| {
            let args = [
                "measure",
                "net.onnx",
                "--effort",
                "0.1",
                "--json",
                "--input-size",
                size,
            ];
            let all: Value = serde_json::from_slice(&check(&sandbox, &args, 0).stdout).unwrap();
            all[0]["median_ns"].as_f64().unwrap()
        })
        .collect();
    assert!(times[1] > 10.0 * times[0], "256 times the image: {times:?}");
    let sized = |size: &'static str| ["measure", "net.onnx", "--input-size", size];
    check(&sandbox, &sized("z=1x3x8x8"), 2);
    for wrong in ["1x4x8x8", "3x8x8"] {
        let error = stderr(&check(&sandbox, &sized(wrong), 1));
        assert!(
            error.contains("input `x`") && error.contains(wrong),
            "{error}"
        );
    }

    let save = [
        "bench",
        "net.onnx",
        "--save-baseline",
        "main",
        "--input-size",
        "1x3x32x32",
        "--quiet",
    ];
    check(&sandbox, &save, 0);
    let compare = [
        "bench",
        "net.onnx",
        "--baseline",
        "main",
        "--fail-above",
        "900%",
        "--quiet",
    ];
    check(&sandbox, &compare, 0);
    let other = [&compare[..], &["--input-size", "1x3x64x64"]].concat();
    let output = check(&sandbox, &other, 1);
    assert!(String::from_utf8_lossy(&output.stdout).contains("not in the baseline"));
    let history = sandbox.run(&["bench", "history"]);
    assert!(String::from_utf8_lossy(&history.stdout).contains("input=x=1x3x32x32"));
}

#[test]
fn the_least_effort_measures_and_a_limit_of_one_model_is_a_time() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path("net.onnx"),
        graphprune_tests::zoo_bytes("shapes_net"),
    )
    .unwrap();
    let least = ["measure", "net.onnx", "--effort", "0.1"];
    let limit = |limit: &'static str| [&least[..], &["--at-most", limit]].concat();
    let error = stderr(&check(&sandbox, &limit("5s"), 0));
    assert!(error.contains("limit: at most 5000ms"), "{error}");
    check(&sandbox, &limit("1ns"), 3);
    let pair = ["measure", "net.onnx", "net.onnx", "--at-most", "0.01x"];
    let error = stderr(&check(&sandbox, &pair, 3));
    assert!(
        error.contains("limit: at most 0.01x of the reference's latency"),
        "{error}"
    );

    // An exceeded limit is reported whether or not the figures are read.
    let mut child = sandbox
        .command(&[&limit("1ns")[..], &["--device", "./quick.toml"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = sandbox
        .command(&[&least[..], &["--device", "./quick.toml"]].concat())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write to standard output"));
}
