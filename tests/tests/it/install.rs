//! The wheel, installed into a new Python environment, works in an empty folder.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use graphprune_tests::{binary, python, quick_profile};

const PROGRAMS: [&str; 3] = ["graphprune", "graphprune-train", "graphprune-agent"];

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of an environment's packages.
fn packages(environment: &Path) -> PathBuf {
    let lib = std::fs::read_dir(environment.join("lib")).unwrap();
    let mut found = lib.map(|entry| entry.unwrap().path().join("site-packages"));
    found.find(|path| path.is_dir()).unwrap()
}

#[test]
fn the_wheel_makes_guards_and_prunes_a_network_in_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let bin = path("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in PROGRAMS {
        symlink(binary(program), bin.join(program)).unwrap();
    }
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let mut pack = Command::new(python());
    pack.arg(host.join("xtask/src/dist/wheel.py"))
        .args([&bin, &host.join("python"), folder.path()])
        .args(["0.1.0", "2.11.0"]);
    let wheel = run(&mut pack);

    let environment = path("environment");
    run(Command::new(python())
        .args(["-m", "venv"])
        .arg(&environment));
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        wheel.trim(),
    ]);
    run(&mut pip);
    // In place of downloads: the packages that the wheel requires.
    let of_setup = python().parent().unwrap().parent().map(packages).unwrap();
    for package in ["torch", "onnxruntime"] {
        symlink(of_setup.join(package), packages(&environment).join(package)).unwrap();
    }

    let work = path("work");
    std::fs::create_dir(&work).unwrap();
    let graphprune = |arguments: &str| {
        let mut command = Command::new(environment.join("bin/graphprune"));
        command
            .args(arguments.split_whitespace())
            .current_dir(&work)
            .env_clear()
            .env("HOME", &work)
            .env("PATH", "/usr/bin:/bin");
        run(&mut command)
    };
    std::fs::write(work.join("quick.toml"), quick_profile("local")).unwrap();
    graphprune("device add local --profile quick.toml --address local");
    graphprune("example demo --quiet");
    let measured = graphprune("bench demo/model.onnx --save-baseline main");
    assert!(measured.contains("no baseline"), "{measured}");
    let plan = graphprune(
        "prune demo/model.onnx --data folder:demo/photos --latency 0.7x --out run --dry-run",
    );
    assert!(plan.contains("the run would do"), "{plan}");
}

#[test]
fn the_program_needs_libtorch_for_training_only() {
    // The dynamic linker lists the libraries in place of starting the program.
    let needs = |program: &str| {
        let mut linker = Command::new(binary(program));
        run(linker.env("LD_TRACE_LOADED_OBJECTS", "1")).contains("libtorch_cpu.so")
    };
    assert!(needs("graphprune-train"));
    assert!(!needs("graphprune"));
}
