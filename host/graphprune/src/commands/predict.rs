//! `graphprune predict`: the latency of a width configuration, from kernels measured alone.

use std::process::ExitCode;

use pipeline::{AnalysisOptions, Attention, ModelSpec, PredictRequest, Predicted};

/// Predict the latency of a width configuration without measuring the network: its kernels are measured alone, and only once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune predict model.onnx --device local --keep 0.5\n  graphprune predict resnet20 --widths 16,8,16,16,32,24,32,32,64,48,64,64 --json"
)]
pub struct Args {
    /// ONNX file, or a network of the zoo by name
    model: String,
    /// Device: `local`, a registered name, or the path of a profile with an address
    #[arg(long, default_value = "local")]
    device: String,
    /// Share of the channels that every group keeps
    #[arg(long, default_value_t = 1.0, conflicts_with = "widths")]
    keep: f64,
    /// Width of every group, in the order of `graphprune inspect`
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// Image of a zoo network: channels x height x width
    #[arg(long, default_value = "3x32x32", value_name = "CxHxW")]
    input: String,
    /// Classes of a zoo network
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// What of an attention is pruned: the widths of its heads, or whole heads
    #[arg(long, default_value = "widths", value_name = "widths|heads")]
    attention: Attention,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the prediction.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.keep > 0.0 && args.keep <= 1.0,
        "--keep is a share above 0 and at most 1"
    );
    let request = PredictRequest {
        model: ModelSpec(args.model.clone()),
        classes: args.classes,
        input: super::inspect::image(&args.input)?,
        groups: AnalysisOptions {
            attention: args.attention,
        },
        device: args.device.clone(),
        keep: args.keep,
        widths: args.widths.clone(),
    };
    let predicted = pipeline::predict(&request, |done| {
        tracing::info!(done, "kernels");
        true
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&predicted)?);
    } else {
        print(&predicted);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(predicted: &Predicted) {
    println!(
        "{:.3}x of the unpruned network's latency, {:.3}x of its MACs, by {} kernels measured alone on {}",
        predicted.ratio, predicted.macs_ratio, predicted.kernels, predicted.device
    );
    if predicted.unknown_layers > 0 {
        println!(
            "nothing is known of {} layers; their time is missing",
            predicted.unknown_layers
        );
    }
    println!("\nlayer times, ms: unpruned, with these widths");
    for layer in &predicted.layers {
        println!(
            "{:9.4} {:9.4}  {}",
            layer.full_ns / 1e6,
            layer.ns / 1e6,
            layer.name
        );
    }
    println!("\nwidths worth having on this device (the others cost what the next of these does)");
    for group in &predicted.groups {
        let corners: Vec<String> = group.corners.iter().map(usize::to_string).collect();
        println!(
            "{:5} of {:5}  {}: {}",
            group.width,
            group.channels,
            group.name,
            corners.join(" ")
        );
    }
}
