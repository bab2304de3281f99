//! `graphprune explain`: the time that each group of channels saved.

use std::path::PathBuf;
use std::process::ExitCode;

use pipeline::{
    Attention, DeviceSpec, ExplainRequest, ExplainSubject, explain, explanation_text,
    write_explanation,
};

use crate::options::{InputSizes, Usage};
use crate::output::{say, say_part};
use crate::progress::Terminal;
use crate::stop;

/// Tell what each group of channels saved, predicted and really, and why where it saved nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune explain runs/a\n  graphprune explain runs/a --report why.html\n  graphprune explain original.onnx pruned.onnx --device local --json\n  graphprune explain original.onnx pruned.onnx --input-size image=1x3x224x224"
)]
pub struct Args {
    /// Folder of a finished run, or the original network's ONNX file
    run: PathBuf,
    /// Its pruned form, where two files are given
    pruned: Option<PathBuf>,
    /// Device: `local`, a registered name, or the path of a profile with an address (default: the
    /// run's)
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// What of an attention was pruned: the widths of its heads, or whole heads (default: as in
    /// the run, or widths)
    #[arg(long, value_name = "widths|heads")]
    attention: Option<Attention>,
    #[command(flatten)]
    sizes: InputSizes,
    /// Predict nothing: leave out the kernels measured alone, which take minutes on a device that
    /// they were never measured on
    #[arg(long)]
    measured_only: bool,
    /// Write a page with charts and all layers, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show warnings only while it works
    #[arg(long, short)]
    quiet: bool,
}

/// Measures, and prints the explanation.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let what = match &args.pruned {
        Some(pruned) => {
            for path in [&args.run, pruned] {
                if path.is_dir() {
                    return Err(Usage::error(format!(
                        "'{}' is a folder: give a run alone, or the original and its pruned form as two ONNX files",
                        path.display()
                    )));
                }
            }
            ExplainSubject::Files {
                original: args.run.clone(),
                pruned: pruned.clone(),
            }
        }
        None if args.run.is_file() => {
            return Err(Usage::error(format!(
                "'{}' is a file: give its pruned form as well, or the folder of a run",
                args.run.display()
            )));
        }
        None => ExplainSubject::Run(args.run.clone()),
    };
    let request = ExplainRequest {
        what,
        input_sizes: args.sizes.input_sizes.clone(),
        device: args.device.clone(),
        attention: args.attention,
        predict: !args.measured_only,
    };
    let stop = stop::on_interrupt()?;
    let explanation = explain(&request, &stop, &mut Terminal::new(args.quiet))?;
    if let Some(path) = &args.report {
        write_explanation(&explanation, path)?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        say_part!("{}", explanation_text(&explanation));
        if let Some(path) = &args.report {
            say!("report: {}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
