//! Every network of a folder, as `cargo xtask zoo` exports them: read, analysed, pruned by
//! seeded random plans that drop 30, 50 and 70 % of the channels (the last one removes branches
//! too), compared in ONNX Runtime with the original whose dropped channels are masked, and
//! trained for a step. Where the exporter stored PyTorch's results, output and gradients are
//! compared with them. Prints a Markdown table; exits with status 1 when a network fails.
//!
//!     zoo DIRECTORY [NAME ...]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use channels::{Analysis, AnalysisOptions, Attention, GroupId, analyse, analyse_with};
use graphprune_tests::{
    Array, Compared, Difference, array, difference, prune_and_compare, random_plan, tensor,
};
use onnx_graph::cost::costs;
use onnx_graph::{Dim, Graph, NoExternalData, read_owned};
use torch_exec::{Device, Kind, NormMode, Params, Program, TchError, Tensor, cross_entropy, seed};

/// Largest difference between the pruned and the masked network, relative to the spread of the
/// output.
const TOLERANCE: f64 = 1e-4;
/// The same between libtorch and ONNX Runtime, whose kernels add in other orders: deep networks
/// differ by more.
const OTHER_RUNTIME: f64 = 1e-3;
/// The same between gradients, relative to the spread of one parameter's.
const GRADIENT: f64 = 1e-3;
/// Share of the largest gradient below which a gradient counts as zero.
const NOTHING: f64 = 1e-5;
/// Shares of dropped channels.
const DROPS: [f64; 3] = [0.3, 0.5, 0.7];
const BATCH: usize = 2;

/// The results of one network.
struct Row {
    groups: usize,
    removable: usize,
    channels: usize,
    pinned: BTreeMap<String, usize>,
    parameters: u64,
    /// Remaining parameters and MACs with half of the channels, as shares.
    left: (f64, f64),
    apart: f64,
    executed: Verdict<f64>,
    gradients: Verdict<Gradients>,
    /// MACs relative to those of PyTorch's counter.
    macs: Option<f64>,
    times: [Duration; 3],
}

/// The outcome of a comparison.
enum Verdict<T> {
    /// The two agree.
    Fine(T),
    /// There was nothing to compare, with the reason.
    Not(String),
    /// They differ, with the difference.
    Wrong(String),
}

impl<T> Verdict<T> {
    fn text(&self, fine: impl Fn(&T) -> String) -> String {
        match self {
            Self::Fine(compared) => fine(compared),
            Self::Not(reason) => reason.clone(),
            Self::Wrong(reason) => format!("**{reason}**"),
        }
    }

    fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

impl<T> From<Result<T, String>> for Verdict<T> {
    fn from(result: Result<T, String>) -> Self {
        result.map_or_else(Self::Wrong, Self::Fine)
    }
}

/// The comparison of PyTorch's gradients with the executor's.
struct Gradients {
    parameters: usize,
    apart: f64,
    /// The parameter with the largest difference.
    worst: String,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        println!("zoo: no folder of networks was given; `cargo xtask zoo` makes one");
        return ExitCode::SUCCESS;
    };
    let names: Vec<String> = arguments.collect();
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(error) => {
            eprintln!("zoo: {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.retain(|f| names.is_empty() || names.contains(&name_of(f)));
    files.sort();
    println!(
        "| network | groups | branches that can go | channels pinned | parameters, M | left at 50 %: parameters, MACs | \
         pruned against masked | libtorch against ONNX Runtime | gradients against PyTorch's | MACs over PyTorch's | read, analyse, prune, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut failed = Vec::new();
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &files {
        let name = name_of(file);
        match check(file) {
            Ok(row) => {
                println!("| {name} | {}", line(&row));
                if row.executed.is_wrong() || row.gradients.is_wrong() {
                    failed.push(name.clone());
                }
                for reason in row.pinned.keys() {
                    reasons
                        .entry(reason.clone())
                        .or_default()
                        .push(name.clone());
                }
            }
            Err(reason) => {
                println!("| {name} | **{reason}** |");
                failed.push(name);
            }
        }
    }
    println!(
        "\n{} of {} networks pass.",
        files.len() - failed.len(),
        files.len()
    );
    for (reason, networks) in reasons {
        println!("- {reason}: {}", networks.join(", "));
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn name_of(file: &Path) -> String {
    file.file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

fn line(row: &Row) -> String {
    let pinned: usize = row.pinned.values().sum();
    let share = 100.0 * pinned as f64 / (pinned + row.channels).max(1) as f64;
    let executed = row.executed.text(|apart| format!("{apart:.0e}"));
    let compared = |g: &Gradients| format!("{:.0e}, {}", g.apart, g.parameters);
    let gradients = row.gradients.text(compared);
    let macs = row
        .macs
        .map_or("not counted".to_owned(), |m| format!("{m:.4}"));
    let [read, analyse, prune] = row.times.map(|t| t.as_secs_f64() * 1e3);
    format!(
        "{} | {} | {share:.0} % | {:.1} | {:.0} %, {:.0} % | {:.0e} | {executed} | {gradients} | {macs} | {read:.0}, {analyse:.2}, {prune:.0} |",
        row.groups,
        row.removable,
        row.parameters as f64 / 1e6,
        row.left.0 * 100.0,
        row.left.1 * 100.0,
        row.apart,
    )
}

fn check(file: &Path) -> Result<Row, String> {
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    let start = Instant::now();
    let graph = read_owned(bytes, &NoExternalData).map_err(|e| e.to_string())?;
    let read_time = start.elapsed();
    let start = Instant::now();
    let analysis = analyse(&graph).map_err(|e| e.to_string())?;
    let analyse_time = start.elapsed();
    let groups = analysis.groups().len();
    if groups == 0 {
        let first = analysis.pinned().iter().find(|p| !of_graph(&p.reason));
        return Err(format!("nothing to prune: {first:?}"));
    }
    let feed = feed(&graph, stored_shape(file))?;
    let before = costs(&graph);
    let (mut left, mut apart, mut prune_time) = ((1.0, 1.0), 0.0f64, Duration::ZERO);
    let mut executed = Verdict::Not("not executed".into());
    for drop in DROPS {
        let compared = compare(&graph, &analysis, drop, &feed)?;
        apart = apart.max(compared.apart.relative);
        if drop == DROPS[1] {
            let after = costs(&compared.pruned);
            left = (
                after.parameters as f64 / before.parameters as f64,
                after.macs as f64 / before.macs as f64,
            );
            prune_time = compared.took;
            executed = execute(&compared.pruned, &feed, &compared.outputs[0]);
        }
    }
    let heads = AnalysisOptions {
        attention: Attention::Heads,
    };
    let heads = analyse_with(&graph, heads).map_err(|e| e.to_string())?;
    if heads.groups() != analysis.groups() {
        let compared = compare(&graph, &heads, DROPS[1], &feed)?.apart.relative;
        apart = apart.max(compared);
    }
    let mut pinned = BTreeMap::new();
    for p in analysis.pinned().iter().filter(|p| !of_graph(&p.reason)) {
        *pinned.entry(p.reason.clone()).or_insert(0) += p.channels;
    }
    Ok(Row {
        groups,
        removable: (0..groups)
            .filter(|&g| analysis.removal(GroupId(g)).is_some())
            .count(),
        channels: analysis.groups().iter().map(|g| g.channels).sum(),
        pinned,
        parameters: before.parameters,
        left,
        apart,
        executed,
        gradients: gradients(file, &graph),
        macs: counted(file).map(|macs| before.macs as f64 / macs),
        times: [read_time, analyse_time, prune_time],
    })
}

/// Whether two outputs differ by too much, or by no number.
fn exceeds(compared: Difference, most: f64) -> bool {
    compared.relative > most || compared.relative.is_nan()
}

/// Whether a pin is that of a graph's input or output.
fn of_graph(reason: &str) -> bool {
    reason.starts_with("channels of a graph")
}

/// The shape of an input that a network leaves open, from `NAME.json`.
fn stored_shape(file: &Path) -> Option<Vec<usize>> {
    let text = std::fs::read_to_string(file.with_extension("json")).ok()?;
    let stored: serde_json::Value = serde_json::from_str(&text).ok()?;
    let sizes = stored["shape"].as_array()?.iter();
    sizes
        .map(|size| usize::try_from(size.as_u64()?).ok())
        .collect()
}

/// Elements for the network's input, of `shape` if it is given.
fn feed(graph: &Graph, shape: Option<Vec<usize>>) -> Result<Array, String> {
    if let Some(shape) = shape {
        return Ok(Array::uniform(&shape, -2.0, 2.0, 1));
    }
    let input = graph.inputs().first().ok_or("it has no input")?;
    let shape = graph
        .value(*input)
        .shape
        .clone()
        .ok_or("its input has no shape")?;
    let sizes = shape.iter().enumerate().map(|(i, d)| match d {
        Dim::Known(n) => Some(*n),
        Dim::Symbol(_) => (i == 0).then_some(BATCH),
    });
    let sizes: Vec<usize> = sizes
        .collect::<Option<_>>()
        .ok_or("its input is of open size")?;
    Ok(Array::uniform(&sizes, -2.0, 2.0, 1))
}

/// Prunes a network by a random plan that drops the share `drop` of the channels, the last one
/// branches too.
fn compare(
    graph: &Graph,
    analysis: &Analysis,
    drop: f64,
    feed: &Array,
) -> Result<Compared, String> {
    let remove = if drop == DROPS[2] { 0.5 } else { 0.0 };
    let plan = random_plan(analysis, (drop * 100.0) as u64, drop..=drop, remove);
    let compared = prune_and_compare(graph, analysis, &plan, feed)?;
    if exceeds(compared.apart, TOLERANCE) {
        let share = drop * 100.0;
        return Err(format!(
            "without {share:.0} % of the channels: {}",
            compared.apart
        ));
    }
    Ok(compared)
}

/// Returns the largest difference of libtorch's output, after checking that a training step's
/// gradients are finite.
fn execute(graph: &Graph, feed: &Array, reference: &Array) -> Verdict<f64> {
    match Program::compile(graph) {
        Ok(program) => train_a_step(&program, graph, feed, reference).into(),
        Err(reason) => Verdict::Not(format!("not executed: {reason}")),
    }
}

fn train_a_step(
    program: &Program,
    graph: &Graph,
    feed: &Array,
    reference: &Array,
) -> Result<f64, String> {
    let out = graphprune_tests::execute(graph, None, feed).map_err(|e| e.to_string())?;
    let compared = difference(&out, reference);
    if exceeds(compared, OTHER_RUNTIME) {
        return Err(compared.to_string());
    }
    let params = Params::from_graph(graph, Device::Cpu).map_err(|e| e.to_string())?;
    let images = tensor(feed);
    seed(0);
    let out = program
        .forward(&images, &params, None, NormMode::Batch)
        .map_err(|e| e.to_string())?;
    let rows = out.flatten(1, -1);
    let labels = Tensor::zeros([rows.size()[0]], (Kind::Int64, Device::Cpu));
    let loss = cross_entropy(&rows, &labels, 0.0).map_err(|e| e.to_string())?;
    loss.f_backward().map_err(|e| e.to_string())?;
    for (_, name, tensor) in params.trainable(graph) {
        let grad = tensor.grad();
        // The loss depends on the first output; parameters of other outputs have no gradient.
        if !grad.defined() && graph.outputs().len() > 1 {
            continue;
        }
        if !grad.defined() || grad.isfinite().all().int64_value(&[]) == 0 {
            return Err(format!("no finite gradient for '{name}'"));
        }
    }
    Ok(compared.relative)
}

/// Returns the multiply-accumulates that PyTorch counted, from `NAME.json`.
fn counted(file: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(file.with_extension("json")).ok()?;
    let stored: serde_json::Value = serde_json::from_str(&text).ok()?;
    stored["macs"].as_f64()
}

/// Compares output and gradients of the whole network in evaluation mode with PyTorch's in
/// `NAME.npz`.
fn gradients(file: &Path, graph: &Graph) -> Verdict<Gradients> {
    let stored = file.with_extension("npz");
    match Program::compile(graph) {
        Ok(program) if stored.exists() => compare_gradients(&stored, graph, &program).into(),
        _ => Verdict::Not("not compared".into()),
    }
}

fn compare_gradients(stored: &Path, graph: &Graph, program: &Program) -> Result<Gradients, String> {
    let stored = Tensor::read_npz(stored).map_err(|e| e.to_string())?;
    let stored: BTreeMap<String, Tensor> = stored.into_iter().collect();
    let images = stored.get("x").ok_or("no images are stored")?;
    let count = images.size().first().copied().unwrap_or(0);
    // A value next to the kink of a ReLU can be on either side in the two, and then gradients
    // differ; an incorrect gradient is incorrect for every image.
    let compared = (0..count).map(|i| gradients_of(&stored, i, graph, program));
    let compared: Vec<Gradients> = compared.collect::<Result<_, _>>()?;
    let best = compared
        .into_iter()
        .min_by(|a, b| a.apart.total_cmp(&b.apart));
    let best = best.ok_or("no image is stored")?;
    if best.apart > GRADIENT || best.apart.is_nan() {
        let Gradients { apart, worst, .. } = best;
        return Err(format!("gradients: {apart:.1e} at best, of '{worst}'"));
    }
    Ok(best)
}

fn gradients_of(
    stored: &BTreeMap<String, Tensor>,
    image: i64,
    graph: &Graph,
    program: &Program,
) -> Result<Gradients, String> {
    let fail = |e: TchError| e.to_string();
    let find = |name: &str| {
        let compared = stored.get(&format!("{image}.{name}"));
        compared.ok_or_else(|| format!("no '{image}.{name}' is stored"))
    };
    let images = stored.get("x").ok_or("no images are stored")?;
    let x = images.f_narrow(0, image, 1).map_err(fail)?;
    let x = x.contiguous().set_requires_grad(true);
    let params = Params::from_graph(graph, Device::Cpu).map_err(|e| e.to_string())?;
    let y = program
        .forward(&x, &params, None, NormMode::Running)
        .map_err(|e| e.to_string())?;
    let output = difference(&array(&y), &array(find("y")?));
    if exceeds(output, OTHER_RUNTIME) {
        return Err(format!("output: {output}"));
    }
    let loss = (y * find("g")?).f_sum(Kind::Float).map_err(fail)?;
    loss.f_backward().map_err(fail)?;
    let own = params.trainable(graph).into_iter();
    let own = own.map(|(_, name, tensor)| (name, tensor));
    let mut compared: Vec<(String, Difference)> = Vec::new();
    for (name, own) in own.chain([("x".to_owned(), x)]) {
        let Ok(reference) = find(&format!("grad.{name}")) else {
            continue;
        };
        // A weight into which a normalisation was folded may keep its name.
        if let Some(value) = stored.get(&format!("value.{name}"))
            && difference(&array(&sample(&own)?), &array(value)).relative > 0.0
        {
            continue;
        }
        let grad = sample(&own.grad())?;
        compared.push((name, difference(&array(&grad), &array(reference))));
    }
    // A gradient that is zero apart from rounding, such as that of a term common to all keys of
    // an attention, is compared with the largest one.
    let largest = compared.iter().map(|(_, d)| d.spread).fold(0.0, f64::max);
    let scaled = |d: &Difference| d.relative * d.spread / d.spread.max(NOTHING * largest);
    let parameters = compared.len();
    let worst = compared.into_iter().map(|(name, d)| (scaled(&d), name));
    let worst = worst.max_by(|a, b| a.0.total_cmp(&b.0));
    let (apart, worst) = worst.ok_or("no gradient has a name in common")?;
    Ok(Gradients {
        parameters,
        apart,
        worst,
    })
}

/// 64 elements of a tensor, evenly spaced.
fn sample(tensor: &Tensor) -> Result<Tensor, String> {
    let flat = tensor.detach().contiguous().flatten(0, -1);
    let step = (flat.numel() / 64).max(1) as i64;
    flat.f_slice(0, None, None, step).map_err(|e| e.to_string())
}
