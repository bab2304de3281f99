//! `graphprune measure`: the latency of one or more models on a device, with the evidence.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{DeviceSpec, LatencyBudget, Measured, MeasuredOn, measure_models};

/// Measure models on a device, interleaved with the first one as reference.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune measure model.onnx\n  graphprune measure original.onnx pruned.onnx --device local --json\n  graphprune measure original.onnx pruned.onnx --at-most 0.7x   (exit code 3 when a model is slower)"
)]
pub struct Args {
    /// ONNX files; the first is the reference of the others
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Device: `local`, a registered name, or the path of a profile with an address; several with commas between all measure all
    /// models
    #[arg(long, default_value = "local")]
    device: String,
    /// Sampling effort, as a multiple of a search's
    #[arg(long, default_value_t = 4.0)]
    effort: f64,
    /// Latency that no model but the reference may exceed, the upper end of the 95 % interval included: a share of the
    /// reference's (0.7x) or a time (1.8ms). Exceeding it is exit code 3
    #[arg(long, value_name = "LATENCY")]
    at_most: Option<LatencyBudget>,
    /// Print JSON with all samples
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let MeasuredOn { measured, failed } =
        measure_models(&DeviceSpec(args.device.clone()), &args.models, args.effort)?;
    // Device by device, each with all the models.
    let devices: Vec<&[Measured]> = measured.chunks(args.models.len()).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else if devices.len() + failed.len() == 1 {
        measured.iter().for_each(print);
    } else {
        for models in &devices {
            println!("on {}:", models[0].device);
            models.iter().for_each(print);
        }
        table(&devices);
    }
    for (device, reason) in &failed {
        eprintln!("{device} measured nothing: {reason}");
    }
    if !failed.is_empty() || measured.iter().any(|m| m.invalid.is_some()) {
        return Ok(ExitCode::FAILURE);
    }
    // A single model has no reference and is the one that is guarded.
    let guarded = args.models.len().min(2) - 1;
    let mut within = true;
    for m in devices.iter().flat_map(|models| &models[guarded..]) {
        if let Some(budget) = args.at_most
            && !budget.allows(m)
        {
            within = false;
            eprintln!("{} takes longer than {budget} on {}", m.name, m.device);
        }
    }
    Ok(ExitCode::from(if within { 0 } else { 3 }))
}

/// One line a model, one column a device: the ratio to the reference, the latency of the reference itself.
fn table(devices: &[&[Measured]]) {
    let names = devices[0].iter().map(|m| m.name.chars().count());
    let first = names.max().unwrap_or(0);
    let cell = |m: &Measured| match (&m.invalid, m.ratio) {
        (Some(_), _) => "not valid".to_owned(),
        (None, Some((ratio, low, high))) => format!("{ratio:.4}x ({low:.4} to {high:.4})"),
        (None, None) => format!("{:.3} ms", m.median_ns / 1e6),
    };
    const WIDTH: usize = 28;
    print!("\n{:first$}", "");
    for models in devices {
        print!("  {:>WIDTH$}", models[0].device);
    }
    println!();
    for (row, model) in devices[0].iter().enumerate() {
        print!("{:first$}", model.name);
        for models in devices {
            print!("  {:>WIDTH$}", cell(&models[row]));
        }
        println!();
    }
}

fn print(m: &Measured) {
    println!(
        "{}: median {:.3} ms (95 % interval {:.3} to {:.3}), minimum {:.3}, p95 {:.3}, {} samples",
        m.name,
        m.median_ns / 1e6,
        m.interval_ns.0 / 1e6,
        m.interval_ns.1 / 1e6,
        m.minimum_ns / 1e6,
        m.p95_ns / 1e6,
        m.samples_ns.len()
    );
    if let Some((ratio, low, high)) = m.ratio {
        println!("  {ratio:.4}x of the reference ({low:.4} to {high:.4})");
    }
    if let Some(bytes) = m.peak_memory_bytes {
        println!("  peak memory {:.1} MB", bytes as f64 / 1e6);
    }
    println!("  {}", m.runtime);
    for note in &m.notes {
        println!("  note: {note}");
    }
    if let Some(reason) = &m.invalid {
        println!("  NOT VALID: {reason}");
    }
}
