//! `graphprune example`: a small trained network with its images.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::say;
use crate::progress::Terminal;
use crate::stop;

/// Make a small trained network and images of its classes, to try the other commands with: they
/// are generated, nothing is downloaded
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  graphprune example demo")]
pub struct Args {
    /// New or empty folder for model.onnx, photos and quick.toml
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// Makes them, and prints what to try first.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop::on_interrupt()?;
    let made = pipeline::example(&args.folder, &stop, &mut Terminal::new(args.quiet))?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&made)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{}: {:.1} % of {} test images right",
        made.model.display(),
        made.test_accuracy * 100.0,
        made.test_images
    );
    say!("{}: images of its ten classes", made.images.display());
    say!(
        "{}: settings of a run that takes about a minute",
        made.config.display()
    );
    let folder = args.folder.display();
    say!("\ntry:\n  cd {folder}\n  graphprune inspect model.onnx");
    say!(
        "  graphprune prune model.onnx --data folder:photos --latency 0.7x --config quick.toml --out runs/a"
    );
    Ok(ExitCode::SUCCESS)
}
