//! `graphprune measure`: the latency of one or more models on a device, with the evidence.

use std::path::PathBuf;
use std::process::ExitCode;

use latency::stats::Interval;
use pipeline::{
    BoardLayer, BoardLayers, ClassifierData, DataSpec, DeviceSpec, LatencyBudget, MeasureFiles,
    Measured, MeasuredOn, SamplingEffort, measure_models, measure_on_board,
};

use crate::exit;
use crate::image_options::ImageOptions;
use crate::options::{InputSizes, Usage, need_data};
use crate::output::{note, say, say_part};
use crate::progress::Terminal;

/// Measure the latency of models on a device, interleaved with the first one as reference.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    graphprune measure model.onnx\n  \
    graphprune measure model.onnx runs/a/pruned.onnx --device local --json\n  \
    graphprune measure model.onnx runs/a/pruned.onnx --at-most 0.9x")]
pub struct Args {
    /// ONNX files; the first is the reference of the others
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Device: `local`, a registered name, or the path of a profile with an address. Several,
    /// separated by commas, each measure all models
    #[arg(long, default_value = "local")]
    device: DeviceSpec,
    /// Sampling effort, as a multiple of a search's: 0.1 to 100. Figures are over several worker
    /// processes: 8 to 32 for an effort of 4, at least 3 for any, and up to three times as many
    /// while the interval is too wide to count
    #[arg(
        long,
        value_name = "TIMES",
        default_value = "4",
        allow_hyphen_values = true
    )]
    effort: SamplingEffort,
    /// Limit for every model but the reference, including the upper end of the 95 % interval: a
    /// share of the reference's latency (0.7x, 70%, 1.05x) or a time (1.8ms). Exceeding it gives
    /// exit code 3. For a single model, only a time can be the limit
    #[arg(long, value_name = "LATENCY", allow_hyphen_values = true)]
    at_most: Option<LatencyBudget>,
    /// Measure a bare-metal board as MLPerf Tiny does: a sample is the mean of the runs in a window
    /// of at least so long (10s), and the figure the median of six windows in one process, whatever
    /// the effort
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<u64>,
    #[command(flatten)]
    sizes: InputSizes,
    /// Data set that calibrates networks in floats for a bare-metal board: cifar10:DIR, mnist:DIR,
    /// fashion-mnist:DIR, idx:DIR, folder:DIR, shapes
    #[arg(long, value_name = "DATA")]
    data: Option<DataSpec>,
    #[command(flatten)]
    images_as: ImageOptions,
    /// Print JSON with all samples
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether networks in floats are calibrated first, which takes libtorch.
    pub fn has_data(&self) -> bool {
        self.data.is_some()
    }

    fn files(&self) -> MeasureFiles<'_> {
        MeasureFiles {
            device: &self.device,
            files: &self.models,
            input_sizes: &self.sizes.input_sizes,
            effort: self.effort,
            window_ns: self.window,
        }
    }
}

/// The length of a window, ns.
fn window(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(LatencyBudget::Nanoseconds(ns)) if ns >= 1.0 => Ok(ns as u64),
        _ => Err(format!("`{text}` is no time; write one as 10s")),
    }
}

/// Measures files as they are, and prints.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    need_data(&args.images_as)?;
    show_limit(args)?;
    shown(args, measure_models(&args.files())?)
}

/// Calibrates networks in floats for a board, measures them, and prints.
pub fn run_calibrated(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(spec) = args.data.clone() else {
        return run(args);
    };
    show_limit(args)?;
    let data = ClassifierData {
        spec,
        input: args.images_as.preprocessing(),
        allow_skipped: false,
    };
    shown(
        args,
        measure_on_board(&args.files(), &data, &mut Terminal::new(true))?,
    )
}

fn show_limit(args: &Args) -> anyhow::Result<()> {
    if let Some(limit) = args.at_most {
        if let (LatencyBudget::Ratio(_), [_]) = (limit, args.models.as_slice()) {
            return Err(Usage::error(format!(
                "--at-most {limit} is a share of a reference's latency, and there is none: give the reference as the first \
                 model, or a time such as --at-most 1.8ms"
            )));
        }
        note!("limit: {}", limit.words("the reference"));
    }
    Ok(())
}

fn shown(args: &Args, on: MeasuredOn) -> anyhow::Result<ExitCode> {
    let MeasuredOn { measured, failed } = on;
    // Device by device, each with all the models.
    let devices: Vec<&[Measured]> = measured.chunks(args.models.len()).collect();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&measured)?);
    } else if devices.len() + failed.len() == 1 {
        measured.iter().for_each(print);
    } else {
        for models in &devices {
            say!("on {}:", models[0].device);
            models.iter().for_each(print);
        }
        table(&devices);
    }
    for (device, reason) in &failed {
        note!("{device} measured nothing: {reason}");
    }
    if !failed.is_empty() || measured.iter().any(|m| m.invalid.is_some()) {
        return Ok(ExitCode::FAILURE);
    }
    // A single model has no reference: the limit applies to it.
    let guarded = args.models.len().min(2) - 1;
    let mut within = true;
    for m in devices.iter().flat_map(|models| &models[guarded..]) {
        if let Some(budget) = args.at_most
            && !m.is_within(&budget)
        {
            within = false;
            note!("{} takes longer than {budget} on {}", m.name, m.device);
        }
    }
    Ok(exit::met(within))
}

/// One line a model, one column a device: the ratio to the reference, the latency of the
/// reference itself.
fn table(devices: &[&[Measured]]) {
    let names = devices[0].iter().map(|m| m.name.chars().count());
    let first = names.max().unwrap_or(0);
    let cell = |m: &Measured| match (&m.invalid, m.ratio) {
        (Some(_), _) => "not valid".to_owned(),
        (None, Some(of)) => format!("{:.4}x ({:.4} to {:.4})", of.value, of.low, of.high),
        (None, None) => format!("{:.3} ms", m.median_ns / 1e6),
    };
    const WIDTH: usize = 28;
    say_part!("\n{:first$}", "");
    for models in devices {
        say_part!("  {:>WIDTH$}", models[0].device);
    }
    say!();
    for (row, model) in devices[0].iter().enumerate() {
        say_part!("{:first$}", model.name);
        for models in devices {
            say_part!("  {:>WIDTH$}", cell(&models[row]));
        }
        say!();
    }
}

fn print(m: &Measured) {
    say!(
        "{}: median {:.3} ms (95 % interval {:.3} to {:.3}), minimum {:.3}, p95 {:.3}, {} samples of {} processes",
        m.name,
        m.median_ns / 1e6,
        m.interval_ns.0 / 1e6,
        m.interval_ns.1 / 1e6,
        m.minimum_ns / 1e6,
        m.p95_ns / 1e6,
        m.samples_ns.len(),
        m.processes.len()
    );
    if let Some(Interval { value, low, high }) = m.ratio {
        say!("  {value:.4}x of the reference ({low:.4} to {high:.4})");
    }
    if let Some(bytes) = m.peak_memory_bytes {
        say!("  peak memory {:.1} MB", bytes as f64 / 1e6);
    }
    say!("  {}", m.runtime);
    m.board.iter().for_each(board);
    for note in &m.notes {
        say!("  note: {note}");
    }
    if let Some(reason) = &m.invalid {
        say!("  NOT VALID: {reason}");
    }
}

/// A board, and the operators of a network on it.
fn board(of: &BoardLayers) {
    say!(
        "  {}, by {}",
        of.info.chip_in_words(),
        of.info.probe_in_words()
    );
    if of.layers.is_empty() {
        return;
    }
    let unit = if of.info.simulated { "ticks" } else { "cycles" };
    say!("  {unit:>12}  {:>12}  {unit}/MAC  operator", "MACs");
    for layer in &of.layers {
        let each = layer.cycles_per_mac();
        let each = each.map_or(String::new(), |each| format!("{each:.3}"));
        let (BoardLayer { cycles, macs, .. }, width) = (layer, unit.len() + 4);
        say!(
            "  {cycles:>12}  {macs:>12}  {each:>width$}  {}, {}",
            layer.operator,
            layer.node
        );
    }
}
