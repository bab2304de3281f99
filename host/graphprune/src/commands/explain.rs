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

/// Show the predicted and the measured saving of each group, with a reason if there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune explain runs/a\n  \
    graphprune explain runs/a --report why.html\n  \
    graphprune explain model.onnx runs/a/pruned.onnx --device local --json\n  \
    graphprune explain model.onnx runs/a/pruned.onnx --input-size 1x3x32x32")]
pub struct Args {
    /// Folder of a finished run, or the original network's ONNX file
    run: PathBuf,
    /// The pruned network's ONNX file, if RUN is the original's
    pruned: Option<PathBuf>,
    /// Device: `local`, a registered name, or the path of a profile with an address [default: the
    /// run's]
    #[arg(long)]
    device: Option<DeviceSpec>,
    /// What was pruned in attention blocks: the widths of the heads, or whole heads [default: as in
    /// the run, or widths]
    #[arg(long, value_name = "widths|heads")]
    attention: Option<Attention>,
    #[command(flatten)]
    sizes: InputSizes,
    /// Skip the predictions and the measurements of single kernels, which take minutes on a new
    /// device
    #[arg(long)]
    measured_only: bool,
    /// Also write an HTML page with charts and all layers
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
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
