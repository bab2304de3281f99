//! Bytes, accuracy and time of a network packed in several ways.
//!
//! `cargo bench -p graphprune-tests --bench codec [-- MODEL]`: a trained CIFAR network of the
//! shared folder (cifar10_resnet20 by default), whose ONNX file with BatchNormalization folded is
//! compressed by deflate and by zstd, and packed by `graphprune pack`. Accuracy, and the share of
//! images in the same class as before, are of the test set, computed with the unpacked file.
//! Encoding includes the observation of 512 training images where there is GPTQ.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use datasets::{InputSpec, Splits};
use graphprune_tests::{shared_data, shared_model};
use onnx_graph::{NoExternalData, deploy, read};
use pipeline::{
    ClassifierData, ModelSpec, NoReporter, PackForm, PackRequest, PipelineError, StopFlag,
};
use train::{Runtime, classify};
use weight_codec::{Limits, unpack};

/// Level of zstd; the highest without a larger window.
const ZSTD: i32 = 19;

/// Epochs of training between the rounds of a refinement.
const RETRAIN_EPOCHS: usize = 1;

struct Subject {
    spec: String,
    splits: Splits,
    /// The ONNX file that is packed.
    file: Vec<u8>,
    /// Class of each test image.
    classes: Vec<usize>,
}

impl Subject {
    fn new(model: &str) -> Option<Self> {
        let bytes = shared_model(&format!("{model}.onnx"))?;
        let spec = format!("cifar10:{}", shared_data("cifar10-small")?.display());
        let input = InputSpec::preset("cifar10", [3, 32, 32]).expect("a known preset");
        let parsed = spec.parse().expect("a good specification");
        let splits = datasets::open(&parsed, &input).expect("the data set is whole");
        let graph = read(&bytes, &NoExternalData).expect("the file is sound");
        let file = deploy(&graph, None).expect("the network is written").bytes;
        let mut subject = Self {
            spec,
            splits,
            file,
            classes: Vec::new(),
        };
        subject.classes = subject.classes_of(&subject.file);
        Some(subject)
    }

    fn classes_of(&self, file: &[u8]) -> Vec<usize> {
        let graph = read(file, &NoExternalData).expect("the file is sound");
        let (graph, _) = graph.with_open_batch("N").expect("the batch opens");
        let test = self.splits.test.as_ref();
        classify(&graph, test, 250, Runtime::default()).expect("the network runs")
    }

    /// A line of the table: a way with its bytes, what it restores, and its times.
    fn report(&self, name: &str, bytes: usize, file: &[u8], times: [Duration; 2]) {
        let classes = self.classes_of(file);
        let test = self.splits.test.as_ref();
        let share = |count: usize| count as f64 / classes.len() as f64 * 100.0;
        let all = classes.iter().enumerate();
        let right = all.filter(|(image, class)| test.label(*image) == **class);
        let same = classes.iter().zip(&self.classes).filter(|(a, b)| a == b);
        let [encoding, decoding] = times.map(|time| time.as_secs_f64());
        println!(
            "| {name} | {bytes} | {:.1} | {:.2} | {:.2} | {encoding:.2} s | {:.1} ms |",
            bytes as f64 / self.file.len() as f64 * 100.0,
            share(right.count()),
            share(same.count()),
            decoding * 1e3
        );
    }

    fn compress(
        &self,
        name: &str,
        encode: impl Fn(&[u8]) -> Vec<u8>,
        decode: fn(&[u8]) -> Vec<u8>,
    ) {
        let clock = Instant::now();
        let packed = encode(&self.file);
        let encoding = clock.elapsed();
        let clock = Instant::now();
        let file = decode(&packed);
        self.report(name, packed.len(), &file, [encoding, clock.elapsed()]);
    }

    fn pack(&self, model: &Path, (name, form, is_gptq): (&str, PackForm, bool)) {
        self.pack_retrained(model, (name, form, is_gptq), 0);
    }

    fn pack_retrained(
        &self,
        model: &Path,
        (name, form, is_gptq): (&str, PackForm, bool),
        retrain_epochs: usize,
    ) {
        let out = model.with_extension("gpw");
        let data = is_gptq.then(|| ClassifierData {
            spec: self.spec.parse().expect("a good specification"),
            input: pipeline::Preprocessing::default(),
            allow_skipped: false,
        });
        let request = PackRequest {
            model: ModelSpec::new(model.to_string_lossy()),
            data,
            form,
            out: out.clone(),
            images: 512,
            retrain_epochs,
            seed: 0,
        };
        let packed = match pipeline::pack(&request, &StopFlag::default(), &mut NoReporter) {
            Err(PipelineError::BytesOutOfReach { smallest, .. }) => {
                println!("| {name} | not reachable, at least {smallest} | | | | | |");
                return;
            }
            packed => packed.expect("the network is packed"),
        };
        let container = fs::read(out).expect("the container is there");
        let file = unpack(&container, &Limits::default()).expect("the container is whole");
        let times = [packed.encode_s, packed.decode_s].map(Duration::from_secs_f64);
        self.report(name, container.len(), &file, times);
    }
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).expect("memory is written");
    encoder.finish().expect("memory is written")
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(bytes);
    std::io::Read::read_to_end(&mut decoder, &mut inflated).expect("what was deflated");
    inflated
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, ZSTD).expect("memory is written")
}

fn of_zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).expect("what was compressed")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let named = arguments.find(|argument| !argument.starts_with('-'));
    let model = named.unwrap_or_else(|| "cifar10_resnet20".into());
    let Some(subject) = Subject::new(&model) else {
        return;
    };
    println!("{model}: {} bytes as ONNX\n", subject.file.len());
    println!("| | bytes | % | accuracy, % | same class, % | encoding | decoding |");
    println!("|---|---|---|---|---|---|---|");
    subject.report(
        "ONNX",
        subject.file.len(),
        &subject.file,
        [Duration::ZERO; 2],
    );
    subject.compress("deflate", deflate, inflate);
    subject.compress(&format!("zstd {ZSTD}"), zstd_of, of_zstd);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    fs::write(&path, &subject.file).expect("the folder is writable");
    subject.pack(&path, ("lossless", PackForm::Lossless, false));
    for bits in [8, 6, 4, 3, 2] {
        let form = PackForm::Bits(bits);
        subject.pack(&path, (&format!("{bits} bits, nearest"), form, false));
        subject.pack(&path, (&format!("{bits} bits, GPTQ"), form, true));
    }
    for size in [125_000, 95_000, 75_000] {
        let name = format!("at most {} kB, GPTQ", size / 1000);
        subject.pack(&path, (&name, PackForm::Bytes(size), true));
    }
    for density in [0.2, 0.3, 0.4, 0.5, 0.6] {
        let name = format!("SuRP, density {density}");
        let form = PackForm::RefinedDensity(density);
        subject.pack(&path, (&name, form, true));
        let name = format!("{name}, {RETRAIN_EPOCHS} epochs between rounds");
        subject.pack_retrained(&path, (&name, form, true), RETRAIN_EPOCHS);
    }
}
