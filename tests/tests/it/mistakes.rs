//! The mistakes of users, with what the program says to them, as one text that is reviewed as a
//! whole.

use std::fmt::Write as _;
use std::fs::{self, File};

use graphprune_tests::{Sandbox, write_image_folder, zoo_bytes};

/// Command lines, each with one mistake.
const MISTAKES: &[&str] = &[
    "inspekt net.onnx",
    "inspect",
    "inspect missing.onnx",
    "inspect cut.onnx",
    "inspect text.onnx",
    "inspect photos",
    "inspect resnet21",
    "inspect net.onnx --layerz",
    "inspect net.onnx --input-size 1x3",
    "inspect net.onnx --input-size other=1x3x32x32",
    "prune --data shapes --macs 0.5 --out run",
    "prune net.onnx --data shapes --macs 0.5",
    "prune net.onnx --data shapes --out run",
    "prune net.onnx --latency 0.7x --out run",
    "prune missing.onnx --data shapes --macs 0.5 --out run",
    "prune net.onnx --data shape --macs 0.5 --out run",
    "prune net.onnx --data folder:missing --macs 0.5 --device quick.toml --out run",
    "prune net.onnx --data folder:empty --macs 0.5 --device quick.toml --out run",
    "prune net.onnx --data folder:photos --macs 0.5 --device quick.toml --out run",
    "prune net.onnx --data cifar10:empty --macs 0.5 --device quick.toml --out run",
    "prune net.onnx --data mnist:empty --macs 0.5 --device quick.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --device nowhere --out run",
    "prune net.onnx --data shapes --macs 0.5 --device raspberry-pi-4 --out run",
    "prune net.onnx --data shapes --macs 0.5 --device missing.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --device ssh:pi@board --out run",
    "prune net.onnx --data shapes --latency fast --out run",
    "prune net.onnx --data shapes --latency 1.2x --out run",
    "prune net.onnx --data shapes --latency 7 --out run",
    "prune net.onnx --data shapes --latency 0.8x,0.8x --out run",
    "train net.onnx --data shapes --latency 0.8x,0.6x --out run",
    "prune net.onnx --data shapes --macs 50 --out run",
    "prune net.onnx --data shapes --macs 0.0001 --device quick.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --out file",
    "prune net.onnx --data shapes --macs 0.5 --out file/run",
    "prune net.onnx --data shapes --macs 0.5 --out other",
    "prune net.onnx --data shapes --macs 0.5 --out done",
    "prune net.onnx --data shapes --macs 0.5 --out done --dry-run",
    "prune net.onnx --data shapes --macs 0.5 --out used",
    "prune --out empty --resume",
    "prune --out done --resume --macs 0.5",
    "prune net.onnx --data shapes --macs 0.5 --strategy luck --out run",
    "prune net.onnx --data shapes --macs 0.5 --weights mended --out run",
    "prune net.onnx --data shapes --macs 0.5 --precision half --out run",
    "prune net.onnx --data shapes --macs 0.5 --precision joint --out run",
    "prune net.onnx --data shapes --macs 0.5 --normalise imagnet --device quick.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --train-on gpu --out run",
    "prune net.onnx --data shapes --macs 0.5 --episodes 0 --out run",
    "prune net.onnx --data shapes --macs 0.5 --threads -1 --out run",
    "prune net.onnx --data shapes --macs 0.5 --config missing.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --config broken.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --config unknown.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --config pattern.toml --device quick.toml --out run",
    "prune net.onnx --data shapes --macs 0.5 --config rule.toml --out run",
    "prune shapes_net --data shapes --latency 0.5x --precision joint --out run",
    "apply net.onnx --out cut2.onnx",
    "apply net.onnx --keep 0 --out cut2.onnx",
    "apply net.onnx --widths 1,2 --out cut2.onnx",
    "apply net.onnx --widths 99,48,64,64,96,96 --out cut2.onnx",
    "apply net.onnx --plan text.onnx --out cut2.onnx",
    "apply net.onnx --keep 0.5 --out missing/cut2.onnx",
    "measure missing.onnx",
    "measure net.onnx --device nowhere",
    "measure net.onnx --at-most 0.7x",
    "bench net.onnx --baseline main",
    "bench net.onnx --fail-above 3%",
    "bench net.onnx --baseline main --fail-above 3",
    "bench empty",
    "predict net.onnx --widths 1,2",
    "explain net.onnx",
    "explain empty",
    "report empty",
    "plan empty",
    "diff net.onnx missing.onnx",
    "diff empty net.onnx",
    "config show missing.toml",
    "config show unknown.toml",
    "device add Board --profile local --address local",
    "device add board --profile nope --address local",
    "device remove nothing",
    "device profile show nope",
    "quantize net.onnx",
    "pack net.onnx",
    "pack net.onnx --bytes 90K",
    "unpack net.onnx --out back.onnx",
    "example photos",
    "measurements show 5 --store missing.sqlite",
];

/// A folder with what users confuse.
fn folder() -> (Sandbox, File) {
    let sandbox = Sandbox::new();
    let write = |name: &str, bytes: &[u8]| fs::write(sandbox.path(name), bytes).unwrap();
    let network = zoo_bytes("shapes_net");
    write("net.onnx", &network);
    write("cut.onnx", &network[..network.len() / 2]);
    write("text.onnx", b"this is no model");
    write("file", b"");
    write("broken.toml", b"seed = \n");
    write("unknown.toml", b"sead = 1\n");
    write("pattern.toml", b"[groups.\"layer1.*\"]\nignore = true\n");
    write("rule.toml", b"[groups.\"conv1\"]\nkeep = 0.5\nmin = 4\n");
    for name in ["empty", "other", "done", "used"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    write("other/notes.txt", b"a user's");
    write("done/config.toml", b"data = \"shapes\"\n");
    write("done/run.lock", b"");
    let lock = File::create(sandbox.path("used/run.lock")).unwrap();
    lock.lock().unwrap();
    write_image_folder(&sandbox.path("photos"), &["cat", "dog"], 4);
    (sandbox, lock)
}

#[test]
fn every_mistake_has_a_message_that_says_what_to_do() {
    let (sandbox, _lock) = folder();
    let mut text = String::new();
    for line in MISTAKES {
        let args: Vec<&str> = line.split_whitespace().collect();
        let mut command = sandbox.command(&args);
        command.env_remove("RUST_LOG").env("COLUMNS", "80");
        let output = command.output().unwrap();
        let code = output.status.code().unwrap();
        assert!((1..=2).contains(&code), "{line}: exit code {code}");
        let error = String::from_utf8_lossy(&output.stderr);
        let place = sandbox.path("").display().to_string();
        let error = error
            .replace(&format!("{place}home/"), "[home]/")
            .replace(&place, "[folder]/");
        // What a run says before it is specific to the machine.
        let error = error.find("error: ").map_or(&error[..], |at| &error[at..]);
        writeln!(text, "$ graphprune {line}\n[{code}] {}\n", error.trim_end()).unwrap();
    }
    for left in ["run", "cut2.onnx", ".graphprune"] {
        assert!(!sandbox.path(left).exists(), "{left} is left");
    }
    insta::assert_snapshot!(text);
}
