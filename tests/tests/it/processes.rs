//! Runs of several processes through the command line: they evaluate and fine-tune candidates as
//! one process does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use graphprune_boards::free_port;
use graphprune_tests::{Sandbox, TINY};
use serde_json::Value;

/// A folder with a trained network, and settings with which a run computes no more than it needs.
/// Its short fine-tunings have so many `epochs`.
fn sandbox(epochs: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let settings = TINY
        .replace(
            "strategy = \"ddpg\"",
            "strategy = \"random\"\nweights = \"repaired\"",
        )
        .replace("\nbatch = 50", "\nbatch = 50\nthreads = 1")
        // By a measurement these may differ.
        .replace(
            "[widths]",
            "[exec]\nmemory_format = \"contiguous\"\n[widths]",
        )
        .replace("[finetune]", "[finetune.sgd]\nlr = 1e-3\n[finetune]")
        .replace(
            "[search]",
            "[importance]\ncriterion = \"magnitude\"\n[repair]\nimages = 64\n[search]",
        )
        .replace(
            "candidates = 2\nepochs = 1",
            &format!("candidates = 2\nepochs = {epochs}"),
        )
        .replace("[result]\n", "[result]\nbaselines = []\n");
    fs::write(sandbox.path("tiny.toml"), settings).unwrap();
    let made = sandbox.run(&[
        "train",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--macs",
        "0.6",
        "--out",
        "made",
    ]);
    assert!(made.status.success(), "{made:?}");
    fs::copy(sandbox.path("made/original.onnx"), sandbox.path("net.onnx")).unwrap();
    sandbox
}

fn start(out: &str) -> [&str; 9] {
    [
        "prune",
        "net.onnx",
        "--config",
        "tiny.toml",
        "--macs",
        "0.6",
        "--allow-slower",
        "--out",
        out,
    ]
}

/// Starts the processes of one run.
fn ranks(sandbox: &Sandbox, size: usize, args: &[&str]) -> Vec<Child> {
    let port = free_port().unwrap();
    let start = |rank: usize| {
        let numbers = [
            ("RANK", rank),
            ("WORLD_SIZE", size),
            ("LOCAL_RANK", rank),
            ("LOCAL_WORLD_SIZE", size),
            ("MASTER_PORT", port.into()),
        ];
        let mut command = sandbox.command(args);
        command.envs(numbers.map(|(name, value)| (name, value.to_string())));
        command.env("MASTER_ADDR", "127.0.0.1");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    (0..size).map(start).collect()
}

fn candidates(sandbox: &Sandbox, out: &str) -> Vec<Value> {
    let report = fs::read(sandbox.path(out).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    report["candidates"].as_array().unwrap().clone()
}

#[test]
fn two_processes_find_the_candidates_of_one_with_the_same_scores() {
    let sandbox = sandbox(1);
    let alone = sandbox.run(&start("alone"));
    assert!(alone.status.success(), "{alone:?}");
    let ended: Vec<_> = ranks(&sandbox, 2, &start("pair"))
        .into_iter()
        .map(|rank| rank.wait_with_output().unwrap())
        .collect();
    let said: Vec<_> = ended
        .iter()
        .map(|rank| String::from_utf8_lossy(&rank.stderr))
        .collect();
    assert!(ended.iter().all(|rank| rank.status.success()), "{said:?}");
    assert!(said[0].contains("2 candidates side by side"), "{}", said[0]);
    let (one, two) = (candidates(&sandbox, "alone"), candidates(&sandbox, "pair"));
    let known = |of: &Value| ["widths", "accuracy", "race_accuracy"].map(|key| of[key].clone());
    let (one, two): (Vec<_>, Vec<_>) = (
        one.iter().map(known).collect(),
        two.iter().map(known).collect(),
    );
    assert_eq!(one, two);
    let halved = one.iter().filter(|of| of[2].is_number());
    assert_eq!(halved.count(), 2, "{one:?}");
    let tuned = |out: &str| {
        let folder = fs::read_dir(sandbox.path(out).join("race")).unwrap();
        let paths = folder.map(|entry| entry.unwrap().path());
        let networks = paths.filter(|path| path.extension().is_some_and(|of| of == "onnx"));
        let mut networks: Vec<_> = networks.map(|path| fs::read(path).unwrap()).collect();
        networks.sort();
        networks
    };
    let (one, two) = (tuned("alone"), tuned("pair"));
    assert_eq!(one.len(), 2);
    assert!(one == two, "a candidate has other weights");
}

#[test]
fn a_process_killed_while_it_trains_its_candidate_ends_the_run_which_one_process_resumes() {
    let sandbox = sandbox(8);
    let mut both = ranks(&sandbox, 2, &start("run"));
    let mut helper = both.pop().unwrap();
    let mut first = both.pop().unwrap();
    let mut reader = BufReader::new(first.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("side by side:") {
        let count = reader.read_line(&mut said).unwrap();
        assert!(count > 0, "{said}");
    }
    helper.kill().unwrap();
    helper.wait().unwrap();
    reader.read_to_string(&mut said).unwrap();
    assert!(!first.wait().unwrap().success(), "{said}");
    assert!(
        said.contains("cannot sum up with the other processes"),
        "{said}"
    );
    let output = sandbox.run(&["prune", "--resume", "--allow-slower", "--out", "run"]);
    sandbox.check_result(&output, "run");
}
