//! `graphprune apply`: a cut without training.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgGroup;
use pipeline::{AnalysisOptions, Applied, ApplyRequest, Attention, Keep, apply};

use crate::options::{InputSizes, part};
use crate::output::say;

/// Cut a network to given widths without training or data: any ONNX file, the units with the
/// largest weights or those of a plan
#[derive(Debug, clap::Args)]
#[command(
    group(ArgGroup::new("kept").required(true).args(["keep", "widths", "plan"])),
    after_help = "The outputs of the file are those of the original with the dropped channels set to zero.\n\n\
    Examples:\n  \
    graphprune apply model.onnx --keep 0.5 --out half.onnx\n  \
    graphprune apply model.onnx --widths 32,48,64,0,96,48 --out cut.onnx --write-plan cut.json\n  \
    graphprune apply model.onnx --plan runs/a/plan.json --out cut.onnx"
)]
pub struct Args {
    /// ONNX file
    model: String,
    /// Keep ratio of every group (0.5, 50%)
    #[arg(long, value_name = "SHARE", value_parser = part, allow_hyphen_values = true)]
    keep: Option<f64>,
    /// Width of every group, in the order of `graphprune inspect`; 0 removes a branch
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// The units of a plan: plan.json of a run, or a file of --write-plan
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// File of the cut network
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write what is kept, by the names of the parameters
    #[arg(long, value_name = "FILE")]
    write_plan: Option<PathBuf>,
    /// What to prune in attention blocks: the widths of the heads, or whole heads
    #[arg(long, default_value = "widths", value_name = "widths|heads")]
    attention: Attention,
    #[command(flatten)]
    sizes: InputSizes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Cuts and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let keep = match (args.keep, &args.widths, &args.plan) {
        (_, Some(widths), _) => Keep::Widths(widths.clone()),
        (_, _, Some(plan)) => Keep::Plan(plan.clone()),
        (share, None, None) => Keep::Share(share.unwrap_or(1.0)),
    };
    let applied = apply(&ApplyRequest {
        model: args.sizes.of(&args.model),
        groups: AnalysisOptions {
            attention: args.attention,
        },
        keep,
        out: args.out.clone(),
        plan: args.write_plan.clone(),
    })?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&applied)?);
    } else {
        print(&applied);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(applied: &Applied) {
    let millions = |(before, after): (u64, u64)| {
        format!(
            "{:.2} M to {:.2} M",
            before as f64 / 1e6,
            after as f64 / 1e6
        )
    };
    let least = if applied.counted { "" } else { " (at least)" };
    say!(
        "{} MACs{least}, {} parameters",
        millions(applied.macs),
        millions(applied.parameters)
    );
    say!(
        "written: {} ({} bytes)",
        applied.file.display(),
        applied.bytes
    );
}
