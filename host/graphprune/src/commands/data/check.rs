//! `graphprune data check`: what a network will see of its data.

use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use pipeline::{DataCheck, DataCheckRequest, DataSpec, RunConfig, ValueCheck, check_data};

use crate::image_options::ImageOptions;
use crate::options::{InputSizes, Usage, read_configuration};
use crate::output::say;
use crate::progress::Terminal;
use crate::stop;
use crate::task_options::TaskOptions;

/// Read the data as a run would, pass some of it through the network, draw what the network sees,
/// and say what is doubtful: files that cannot be read, values far from the normalisation, classes
/// that are all wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune data check model.onnx --data folder:photos\n  \
    graphprune data check model.onnx --data folder:photos --normalise half --sheet seen.png --json\n\n\
    Exit code 3: something is doubtful.")]
pub struct Args {
    /// ONNX file
    model: Option<String>,
    #[command(flatten)]
    sizes: InputSizes,
    /// Data set, as for `prune`
    #[arg(long, value_name = "DATA")]
    data: Option<DataSpec>,
    #[command(flatten)]
    task: TaskOptions,
    /// Continue if more than 1 % of a folder's image files are unusable (other formats, truncated)
    #[arg(long)]
    allow_skipped: bool,
    /// TOML configuration of a run; flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Training samples that are read and passed through the network, the same share of each class;
    /// 0 for all
    #[arg(long, value_name = "N", default_value_t = 500)]
    samples: usize,
    /// Samples in the picture
    #[arg(long, value_name = "N", default_value_t = 16)]
    show: usize,
    /// File of the picture, a PNG
    #[arg(long, value_name = "FILE", default_value = "data-check.png")]
    sheet: PathBuf,
    #[command(flatten)]
    images: ImageOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print only warnings while it runs
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    fn configuration(&self) -> anyhow::Result<RunConfig> {
        let mut config = read_configuration(self.config.as_deref())?;
        self.sizes.apply(self.model.as_deref(), &mut config.model);
        if config.model.name().is_empty() {
            return Err(Usage::error("give a model: an ONNX file"));
        }
        config.data = self.data.clone().or(config.data);
        config.allow_skipped |= self.allow_skipped;
        self.task.apply(&mut config.task);
        self.images.apply(&mut config.input);
        Ok(config)
    }
}

/// Checks and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = DataCheckRequest {
        config: args.configuration()?,
        samples: args.samples,
        shown: args.show,
        sheet: args.sheet.clone(),
    };
    let stop = stop::on_interrupt()?;
    let found = check_data(&request, &stop, &mut Terminal::new(args.quiet))?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found);
    }
    Ok(crate::exit::met(
        found.warnings.is_empty() && found.broken.is_empty(),
    ))
}

fn print(found: &DataCheck) {
    let [train, search, test] = found.samples;
    say!("{} on {}, {}", found.model, found.data, found.task);
    say!(
        "{train} training, {search} search, {test} test samples; {} read",
        found.read
    );
    say!("input: {}", found.input);
    if let Some([least, middle, most]) = found.file_sizes {
        let size = |(width, height): (u32, u32)| format!("{width}x{height}");
        let [least, middle, most] = [least, middle, most].map(size);
        say!("files (width x height): {least} to {most}, median {middle}");
    }
    if let Some(right) = found.right {
        let share = 100.0 * right as f64 / found.read.max(1) as f64;
        say!(
            "{right} of {} classified as labelled, {share:.1} %",
            found.read
        );
    }
    say!();
    say!("{}", ranges("input", &found.inputs));
    say!("{}", ranges("output", &found.outputs));
    if !found.classes.is_empty() {
        say!("{}", classes(found));
    }
    if !found.shown.is_empty() {
        say!("{}", shown(found));
    }
    if let Some(sheet) = &found.sheet {
        say!("picture: {}", sheet.display());
    }
    for file in &found.broken {
        say!("cannot be read: {}: {}", file.name, file.reason);
    }
    for warning in &found.warnings {
        say!("warning: {warning}");
    }
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

fn ranges(what: &str, all: &[ValueCheck]) -> String {
    let rows = all.iter().map(|of| {
        let dims: Vec<String> = of.dims.iter().map(ToString::to_string).collect();
        vec![
            of.name.clone(),
            dims.join("x"),
            format!("{:.3}", of.min),
            format!("{:.3}", of.max),
            format!("{:.3}", of.mean),
            format!("{:.3}", of.std),
        ]
    });
    table(&[what, "size", "min", "max", "mean", "std"], rows)
}

fn classes(found: &DataCheck) -> String {
    let rows = found.classes.iter().map(|class| {
        let mostly = class.mostly.as_ref();
        let mostly = mostly.map_or("-".into(), |(name, count)| format!("{name} ({count})"));
        let [train, search, test] = class.samples.map(|count| count.to_string());
        let (read, right) = (class.read.to_string(), class.right.to_string());
        vec![class.name.clone(), train, search, test, read, right, mostly]
    });
    let columns = [
        "class",
        "training",
        "search",
        "test",
        "read",
        "right",
        "mostly given",
    ];
    table(&columns, rows)
}

fn shown(found: &DataCheck) -> String {
    let rows = found.shown.iter().enumerate().map(|(number, sample)| {
        let word = |of: &Option<String>| of.clone().unwrap_or("-".into());
        let file = sample.file.as_ref();
        vec![
            (number + 1).to_string(),
            word(&sample.label),
            word(&sample.predicted),
            file.map_or("-".into(), |path| path.display().to_string()),
        ]
    });
    table(&["picture", "label", "predicted", "file"], rows)
}
