//! `graphprune pack`: a network in few bytes, for a slow link.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{
    Bytes, ClassifierData, DataSpec, PackForm, PackMethod, PackRequest, Packed, PackedTensor, pack,
};

use crate::image_options::ImageOptions;
use crate::options::{InputSizes, Usage, need_data, part};
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;

/// Pack a network into few bytes, for a download over a slow link. `graphprune unpack`, or the
/// small program graphprune-unpack on a device, restores the ONNX file.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("form").required(true).args(["lossless", "bits", "bytes", "surp", "surp_bytes"])),
    after_help = "Examples:\n  \
    graphprune pack model.onnx --bits 4 --data folder:photos\n  \
    graphprune pack model.onnx --bytes 200k --data folder:photos --json\n  \
    graphprune pack model.onnx --lossless\n  \
    graphprune pack model.onnx --surp 0.4\n\nExit code 3: the bytes cannot be reached; no file is written."
)]
pub struct Args {
    /// ONNX file
    model: PathBuf,
    #[command(flatten)]
    sizes: InputSizes,
    /// Store all weights bit by bit
    #[arg(long)]
    lossless: bool,
    /// Store the weights of layers in 2 to 8 bits, those of the first and the last layer in 8
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(2..=8))]
    bits: Option<u8>,
    /// Choose the bits of each layer so that the file has at most this size (90k, 90kB, 1.5M)
    #[arg(long, value_name = "SIZE")]
    bytes: Option<Bytes>,
    /// Store weights by successive refinement (SuRP) until this share of them is not zero (0.4,
    /// 40%). Every prefix of the file is a network
    #[arg(long, value_name = "DENSITY", value_parser = part)]
    surp: Option<f64>,
    /// Store weights by successive refinement in a file of at most this size
    #[arg(long, value_name = "SIZE")]
    surp_bytes: Option<Bytes>,
    /// Data set for rounding by GPTQ and for accuracy: cifar10:DIR, mnist:DIR, fashion-mnist:DIR,
    /// idx:DIR, folder:DIR, shapes. Without it, weights are rounded to the nearest
    #[arg(long, value_name = "DATA")]
    data: Option<DataSpec>,
    #[command(flatten)]
    images_as: ImageOptions,
    /// Continue if more than 1 % of a folder's image files are unusable (other formats, truncated)
    #[arg(long, requires = "data")]
    allow_skipped: bool,
    /// File of the packed network (default: the model's name with .gpw)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of training images that GPTQ observes
    #[arg(long, default_value_t = 512)]
    images: usize,
    /// Epochs of training between the rounds of --surp and --surp-bytes, with the network as it was
    /// as teacher; each round leaves 80 % of the weights
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    retrain_epochs: usize,
    /// Seed of the draw of images, of the order of refinement, and of the training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// Packs and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.images == 0 {
        return Err(Usage::error("--images 0: GPTQ needs at least one image"));
    }
    if args.retrain_epochs > 0 && !(form(args).is_refined() && args.data.is_some()) {
        return Err(Usage::error(
            "--retrain-epochs trains between the rounds of a refinement: give --surp or --surp-bytes, and --data",
        ));
    }
    if args.data.is_none() {
        need_data(&args.images_as)?;
    }
    let data = args.data.clone().map(|spec| ClassifierData {
        spec,
        input: args.images_as.preprocessing(),
        allow_skipped: args.allow_skipped,
    });
    let out = args.out.clone();
    let request = PackRequest {
        model: args.sizes.of(&args.model.to_string_lossy()),
        data,
        form: form(args),
        out: out.unwrap_or_else(|| args.model.with_extension("gpw")),
        images: args.images,
        retrain_epochs: args.retrain_epochs,
        seed: args.seed,
    };
    let stop = stop::on_interrupt()?;
    let packed = pack(&request, &stop, &mut Terminal::new(args.quiet))?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&packed)?);
    } else {
        print(&packed);
    }
    Ok(ExitCode::SUCCESS)
}

/// The form that the options name; clap admits exactly one.
fn form(args: &Args) -> PackForm {
    let forms = [
        args.bits.map(PackForm::Bits),
        args.bytes.map(|size| PackForm::Bytes(size.0 as usize)),
        args.surp.map(PackForm::RefinedDensity),
        args.surp_bytes
            .map(|size| PackForm::RefinedBytes(size.0 as usize)),
    ];
    let named = forms.into_iter().flatten().next();
    named.unwrap_or(PackForm::Lossless)
}

fn print(packed: &Packed) {
    let share = |bytes: usize| bytes as f64 / packed.model_bytes.max(1) as f64 * 100.0;
    say!("{:>10} bytes as ONNX", packed.model_bytes);
    for (bytes, how) in [
        (packed.deflated_bytes, "deflated"),
        (packed.bytes, "packed"),
    ] {
        say!("{bytes:>10} bytes {how} ({:.1} %)", share(bytes));
    }
    for method in [
        PackMethod::Gptq,
        PackMethod::Nearest,
        PackMethod::Refined,
        PackMethod::Lossless,
    ] {
        let of = |tensor: &&PackedTensor| tensor.method == method;
        let tensors: Vec<&PackedTensor> = packed.tensors.iter().filter(of).collect();
        if !tensors.is_empty() {
            say!("{}", line(method, &tensors));
        }
    }
    if let Some(quality) = &packed.quality {
        say!(
            "{:.2} % of {} test images right, {:.2} % before packing; {:.2} % in the same class",
            quality.accuracy * 100.0,
            quality.test_images,
            quality.original_accuracy * 100.0,
            quality.agreement * 100.0
        );
    }
    say!("written: {}", packed.file.display());
}

/// The tensors of one method in a line.
fn line(method: PackMethod, tensors: &[&PackedTensor]) -> String {
    let values: usize = tensors.iter().map(|tensor| tensor.values).sum();
    let how = match method {
        PackMethod::Lossless => "bit by bit".into(),
        PackMethod::Refined => "by successive refinement".into(),
        PackMethod::Nearest | PackMethod::Gptq => {
            let bits = |bits: u8| {
                let count = tensors.iter().filter(|of| of.bits == Some(bits)).count();
                (count > 0).then(|| format!("{count} in {bits}"))
            };
            let bits: Vec<String> = (2..=8).filter_map(bits).collect();
            let by = if method == PackMethod::Gptq {
                "by GPTQ"
            } else {
                "to the nearest"
            };
            format!("rounded {by}: {} bits", bits.join(", "))
        }
    };
    format!("{} tensors of {values} values {how}", tensors.len())
}
