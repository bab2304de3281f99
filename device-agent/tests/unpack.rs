//! `graphprune-unpack`, the real program.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use weight_codec::{
    Bits, Limits, Nearest, Quantizer as _, Storage, Stored, SurpConfig, Tensor, pack, pack_refined,
    surp_encode, unpack, unpack_prefix,
};

const HEADER: &[u8] = b"the rest of a file";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Unpacks a container with these options.
    fn unpack(&self, container: &[u8], options: &[&str]) -> Output {
        fs::write(self.path("in.gpw"), container).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_graphprune-unpack"));
        command.current_dir(self.0.path());
        let args = ["in.gpw", "out.onnx"];
        command.args(args).args(options).output().unwrap()
    }

    /// The container must be refused with `needle`, and leave no file.
    fn refuse(&self, container: &[u8], options: &[&str], needle: &str) {
        let output = self.unpack(container, options);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(needle), "no '{needle}' in: {error}");
        let left: Vec<_> = fs::read_dir(self.0.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

fn weights() -> Vec<f32> {
    (0..2000).map(|i| (i as f32 * 0.7).sin().powi(5)).collect()
}

fn tensor(values: &[f32]) -> Tensor<'_> {
    Tensor {
        name: "conv.weight",
        values,
        dims: &[20, 100],
        channel_axis: 0,
    }
}

fn file(values: &[f32]) -> Vec<u8> {
    let values = values.iter().flat_map(|value| value.to_le_bytes());
    HEADER.iter().copied().chain(values).collect()
}

/// A container of integers.
fn rounded() -> Vec<u8> {
    let values = weights();
    let bits = Bits::new(4).unwrap();
    let quantized = Nearest.quantize(&tensor(&values), bits).unwrap();
    packed(&values, Storage::Quantized(&quantized), &[])
}

/// A container whose prefixes decode, from some length on.
fn refined() -> Vec<u8> {
    let values = weights();
    let stream = surp_encode(&[tensor(&values)], &SurpConfig::default()).unwrap();
    packed(&values, Storage::Refined, &stream)
}

fn packed(values: &[f32], storage: Storage<'_>, stream: &[u8]) -> Vec<u8> {
    let file = file(values);
    let stored = Stored {
        name: "conv.weight",
        range: HEADER.len()..file.len(),
        storage,
    };
    pack_refined(&file, &[stored], stream).unwrap()
}

#[test]
fn a_container_is_unpacked_as_the_host_does() {
    let prefix = &refined()[..900];
    let of_prefix = unpack_prefix(prefix, &Limits::default()).unwrap();
    assert!(!of_prefix.complete);
    let whole = |container: &[u8]| unpack(container, &Limits::default()).unwrap();
    let cases = [
        (rounded(), &[][..], whole(&rounded())),
        (refined(), &[], whole(&refined())),
        (refined(), &["--prefix"], whole(&refined())),
        (prefix.to_vec(), &["--prefix"], of_prefix.file),
    ];
    for (container, options, expected) in cases {
        let folder = Folder::new();
        let output = folder.unpack(&container, options);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{error}");
        assert!(fs::read(folder.path("out.onnx")).unwrap() == expected);
    }
}

#[test]
fn what_is_no_whole_container_is_refused_and_leaves_no_file() {
    let folder = Folder::new();
    let whole = rounded();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    folder.refuse(b"", &[], "damaged");
    folder.refuse(b"\x08\x07an ONNX file", &[], "not a container of weights");
    folder.refuse(&whole[..whole.len() - 1], &[], "damaged");
    folder.refuse(&whole[..whole.len() - 1], &["--prefix"], "damaged");
    folder.refuse(&changed, &[], "in.gpw");
    folder.refuse(&refined()[..900], &[], "truncated");
}

#[test]
fn a_file_over_the_limit_is_refused_before_it_is_decoded() {
    let folder = Folder::new();
    let large = pack(&vec![0; (1 << 20) + 1], &[]).unwrap();
    assert!(large.len() < 1 << 12);
    folder.refuse(&large, &["--limit", "1"], "more than the limit of 1048576");
    let output = folder.unpack(&large, &["--limit", "2"]);
    assert_eq!(output.status.code(), Some(0));
    fs::remove_file(folder.path("out.onnx")).unwrap();
    folder.refuse(&vec![0; (1 << 20) + 1], &["--limit", "1"], "the limit");
}
