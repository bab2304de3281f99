//! `graphprune quantize`: a trained network in 8-bit integers, if that is faster on the device.

use std::path::PathBuf;
use std::process::ExitCode;

use latency::stats::Interval;
use pipeline::{
    ClassifierData, DataSpec, DeviceSpec, Gate, QatConfig, QuantizeCandidate, QuantizeRequest,
    Quantized, RangeMethod, SamplingEffort, quantize,
};

use crate::exit;
use crate::image_options::ImageOptions;
use crate::options::{InputSizes, Usage};
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;

/// Quantise a trained network to 8-bit integers, as far as that makes it faster on the device:
/// forms are measured next to the network in floats, and the fastest that computes nearly the same
/// is written. For a bare-metal board, which computes in integers only, nothing is measured.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune quantize model.onnx --data folder:photos --device local\n  \
    graphprune quantize model.onnx --data folder:photos --out small.int8.onnx --json\n  \
    graphprune quantize model.onnx --data folder:photos --device f4\n\nExit code 3: no form is faster than floats and close enough; no file is written.")]
pub struct Args {
    /// ONNX file in floats
    model: PathBuf,
    #[command(flatten)]
    sizes: InputSizes,
    /// Data set: cifar10:DIR, mnist:DIR, fashion-mnist:DIR, idx:DIR, folder:DIR, shapes
    #[arg(long, value_name = "DATA")]
    data: DataSpec,
    #[command(flatten)]
    images_as: ImageOptions,
    /// Continue if more than 1 % of a folder's image files are unusable (other formats, truncated)
    #[arg(long)]
    allow_skipped: bool,
    /// Device: `local`, a registered name, or the path of a profile with an address
    #[arg(long, default_value = "local")]
    device: DeviceSpec,
    /// File of the answer (default: the model's name with .int8.onnx, or .fp16.onnx where 16-bit
    /// floats are fastest)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of training images on which ranges are observed
    #[arg(long, default_value_t = 200)]
    images: usize,
    /// How the range of an activation follows from its values: min-max, percentile:99.99 or
    /// least-squares
    #[arg(long, value_name = "METHOD", default_value = "min-max")]
    ranges: RangeMethod,
    /// Most bits of weights, 2 to 8; the first and the last layer keep 8. Fewer are no faster, but
    /// `pack` stores them in fewer bytes
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(2..=8))]
    weight_bits: Option<u8>,
    /// Epochs of quantisation-aware training of the fastest form, if calibration alone does not
    /// keep it close enough to floats
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    qat_epochs: usize,
    /// Peak learning rate of quantisation-aware training
    #[arg(long, value_name = "RATE", default_value_t = QatConfig::default().lr)]
    qat_lr: f64,
    /// Number of parts of the network that are also tried in floats
    #[arg(long, value_name = "N", default_value_t = 4)]
    regions: usize,
    /// Least share of images with the same class as in floats (0.97, 97%)
    #[arg(long, value_name = "SHARE", default_value = "0.97", value_parser = crate::options::part)]
    min_agreement: f64,
    /// Least ratio of the outputs to their error, in decibels
    #[arg(long, value_name = "DB", default_value_t = 20.0)]
    min_sqnr: f64,
    /// Sampling effort of each measurement, as a multiple of a search's: 0.1 to 100
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "4",
        allow_hyphen_values = true
    )]
    effort: SamplingEffort,
    /// Seed of the draw of images and of the training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// Quantises and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !(args.qat_lr > 0.0 && args.qat_lr.is_finite()) {
        return Err(Usage::error(format!(
            "--qat-lr {}: a learning rate is a positive number",
            args.qat_lr
        )));
    }
    if args.images == 0 {
        return Err(Usage::error(
            "--images 0: ranges are observed on at least one image",
        ));
    }
    let name = |end: &str| match &args.out {
        Some(out) => out.clone(),
        None => args.model.with_extension(end),
    };
    let request = QuantizeRequest {
        model: args.sizes.of(&args.model.to_string_lossy()),
        data: ClassifierData {
            spec: args.data.clone(),
            input: args.images_as.preprocessing(),
            allow_skipped: args.allow_skipped,
        },
        device: args.device.clone(),
        out: name("int8.onnx"),
        out_in_halves: name("fp16.onnx"),
        images: args.images,
        ranges: args.ranges,
        gate: Gate {
            agreement: args.min_agreement,
            sqnr_db: args.min_sqnr,
            ..Gate::default()
        },
        weight_bits: args.weight_bits,
        qat: QatConfig {
            epochs: args.qat_epochs,
            lr: args.qat_lr,
        },
        regions: args.regions,
        effort: args.effort,
        seed: args.seed,
    };
    let stop = stop::on_interrupt()?;
    let quantized = quantize(&request, &stop, &mut Terminal::new(args.quiet))?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&quantized)?);
    } else {
        print(&quantized);
    }
    Ok(exit::met(quantized.chosen.is_some()))
}

fn print(quantized: &Quantized) {
    if let Some(needs) = &quantized.board {
        return print_for_board(quantized, needs);
    }
    say!("latency over that in floats:");
    for (index, candidate) in quantized.candidates.iter().enumerate() {
        row(candidate, quantized.chosen == Some(index));
    }
    let original = quantized.original_accuracy * 100.0;
    let images = quantized.test_images;
    match (quantized.chosen, &quantized.file) {
        (Some(index), Some(file)) => {
            let chosen = &quantized.candidates[index];
            let Interval { value, low, high } = chosen.ratio.unwrap_or((1.0, 1.0, 1.0).into());
            say!(
                "\n{value:.3}x of the latency in floats ({low:.3} to {high:.3}) on {}",
                quantized.device
            );
            say!("{}", accuracy(quantized));
            say!("written: {}", file.display());
        }
        _ => say!(
            "\nfp32: no other form is faster on {} and close enough; {original:.2} % of {images} test images right",
            quantized.device
        ),
    }
}

/// A board has no latency in floats to compare with.
fn print_for_board(quantized: &Quantized, needs: &str) {
    say!("for {}, which computes in integers only:", quantized.device);
    for (index, candidate) in quantized.candidates.iter().enumerate() {
        row(candidate, quantized.chosen == Some(index));
    }
    say!("\n{needs}");
    if let Some(file) = &quantized.file {
        say!("{}", accuracy(quantized));
        say!("written: {}", file.display());
    }
}

/// Accuracy and size, beside those in floats.
fn accuracy(quantized: &Quantized) -> String {
    format!(
        "{:.2} % of {} test images right, {:.2} % in floats; {} of {} bytes",
        quantized.accuracy.unwrap_or_default() * 100.0,
        quantized.test_images,
        quantized.original_accuracy * 100.0,
        quantized.bytes.unwrap_or_default(),
        quantized.original_bytes
    )
}

fn row(candidate: &QuantizeCandidate, is_chosen: bool) {
    let mark = if is_chosen { '*' } else { ' ' };
    let ratio = candidate.ratio.map(|of| format!("{:.3}x", of.value));
    say!(
        "{mark} {:>7}  {}",
        ratio.as_deref().unwrap_or("-"),
        candidate.name
    );
    if let (Some(agreement), Some(sqnr)) = (candidate.agreement, candidate.sqnr_db) {
        say!(
            "           {:.1} % of images in the same class, {sqnr:.1} dB",
            agreement * 100.0
        );
    }
    if let Some(reason) = &candidate.refused {
        say!("           {reason}");
    }
}
