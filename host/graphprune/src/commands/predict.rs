//! `graphprune predict`: the latency of a width configuration, from kernels measured alone and
//! whole networks learned from.

use std::path::PathBuf;
use std::process::ExitCode;

use latency::stats::Interval;
use pipeline::{PredictRequest, Predicted, predict, write_prediction};

use crate::options::{NetworkOptions, part};
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;

/// Predict the latency of a width configuration from kernels measured in isolation, and from whole
/// networks with --learn.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune predict model.onnx --device local --keep 0.5\n  \
    graphprune predict model.onnx --keep 0.5 --learn 8 --check --report predict.html\n  \
    graphprune predict shapes_net --widths 32,48,64,32,96,48 --json")]
pub struct Args {
    /// ONNX file, or the name of a zoo network
    model: String,
    /// Device: `local`, a registered name, or the path of a profile with an address
    #[arg(long, default_value = "local")]
    device: String,
    /// Keep ratio of every group (0.5, 50%)
    #[arg(
        long,
        value_name = "SHARE",
        default_value = "1",
        value_parser = part,
        allow_hyphen_values = true,
        conflicts_with = "widths"
    )]
    keep: f64,
    /// Width of every group, in the order of `graphprune inspect`
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// Largest number of whole networks to measure and learn from; the prediction then has an
    /// interval
    #[arg(long, value_name = "N", default_value_t = 0)]
    learn: usize,
    /// Also measure the configuration and compare
    #[arg(long)]
    check: bool,
    /// Also write an HTML page: predictions against measurements, times of layers, steps of the
    /// device
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// Prints the prediction.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = PredictRequest {
        model: args.network.sizes.of(&args.model),
        classes: args.network.classes,
        input: args.network.image()?,
        groups: args.network.groups(),
        device: args.device.clone(),
        keep: args.keep,
        widths: args.widths.clone(),
        learn: args.learn,
        check: args.check,
        operators: args.report.is_some(),
    };
    let stop = stop::on_interrupt()?;
    let predicted = predict(&request, &stop, &mut Terminal::new(args.quiet))?;
    if let Some(path) = &args.report {
        write_prediction(&predicted, path)?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&predicted)?);
    } else {
        print(&predicted);
        if let Some(path) = &args.report {
            say!("\nreport: {}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(predicted: &Predicted) {
    let interval = predicted.interval.map_or(String::new(), |(low, high)| {
        format!(" ({low:.3} to {high:.3})")
    });
    say!(
        "{:.3}x of the unpruned network's latency{interval}, {:.3}x of its MACs, by {} kernels measured alone on {}",
        predicted.ratio,
        predicted.macs_ratio,
        predicted.kernels,
        match &predicted.kernels_of {
            None => predicted.device.clone(),
            Some(other) => format!("{other}, of the same profile as {}", predicted.device),
        }
    );
    if let Some(fit) = &predicted.fit {
        say!(
            "learned from {} whole networks; one left out is predicted to {:.1} % (at worst {:.1} %), rank correlation {:.3}",
            predicted.learned.len(),
            fit.mean_relative_error * 100.0,
            fit.max_relative_error * 100.0,
            fit.spearman
        );
    }
    if let Some(Interval { value, low, high }) = predicted.measured {
        say!(
            "measured: {value:.3}x ({low:.3} to {high:.3}); the prediction is off by {:+.1} %",
            (predicted.ratio / value - 1.0) * 100.0
        );
    }
    if predicted.unknown_layers > 0 {
        say!(
            "{} layers have kernels that cannot be measured alone; they are taken to need as long for each MAC as the others",
            predicted.unknown_layers
        );
    }
    say!("\nlayer times, ms: unpruned, with these widths");
    for layer in &predicted.layers {
        say!(
            "{:9.4} {:9.4}  {}",
            layer.full_ns / 1e6,
            layer.ns / 1e6,
            layer.name
        );
    }
    say!("\nwidths worth having on this device (the others cost what the next of these does)");
    for group in &predicted.groups {
        let edges: Vec<String> = group.edges.iter().map(usize::to_string).collect();
        say!(
            "{:5} of {:5}  {}: {}",
            group.width,
            group.channels,
            group.name,
            edges.join(" ")
        );
    }
}
