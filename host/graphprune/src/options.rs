//! Options that commands share: those of a run (a TOML file, overridden by flags) and those of a
//! network outside of a run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use latency::{ShareError, ShareOf};
use pipeline::{
    AnalysisOptions, Attention, Bytes, DataSpec, DeviceSpec, EvaluationWeights, InputSize,
    LatencyBudget, ModelSpec, PrecisionChoice, Run, RunConfig, RunSet, StorePlace, StrategyKind,
    TrainingMode,
};

use crate::command_line;
use crate::image_options::ImageOptions;
use crate::task_options::TaskOptions;

/// Sizes of inputs that a model leaves open.
#[derive(Debug, Default, Args)]
pub struct InputSizes {
    /// Size of an input that the model leaves open, such as 1x3x224x224 or image=1x3x224x224.
    /// Repeat it for several inputs. The name is optional for a model with one input. An open batch
    /// stays open
    #[arg(long = "input-size", value_name = "[NAME=]SIZE")]
    pub input_sizes: Vec<InputSize>,
}

impl InputSizes {
    /// Overrides the network of a configuration with what is given.
    pub fn apply(&self, name: Option<&str>, model: &mut ModelSpec) {
        if let Some(name) = name {
            let sizes = std::mem::take(&mut model.input_sizes);
            *model = ModelSpec::new(name).with_input_sizes(sizes);
        }
        if !self.input_sizes.is_empty() {
            model.input_sizes.clone_from(&self.input_sizes);
        }
    }

    /// The network that a command line names, with these sizes.
    pub fn of(&self, model: &str) -> ModelSpec {
        ModelSpec::new(model).with_input_sizes(self.input_sizes.clone())
    }
}

/// Options that exclude each other or are incomplete: exit code 2.
#[derive(Debug)]
pub struct Usage(String);

impl Usage {
    /// An error whose `problem` names the right options.
    pub fn error(problem: impl Into<String>) -> anyhow::Error {
        Self(problem.into()).into()
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A share that is a budget.
fn budget(text: &str) -> Result<f64, ShareError> {
    ShareOf::Budget.parse(text)
}

/// A share that is a part.
pub fn part(text: &str) -> Result<f64, ShareError> {
    ShareOf::Part.parse(text)
}

/// A share that is a change.
pub fn change(text: &str) -> Result<f64, ShareError> {
    ShareOf::Change.parse(text)
}

/// Options of a network outside of a run.
#[derive(Debug, Args)]
pub struct NetworkOptions {
    /// Image size of a zoo network: channels x height x width
    #[arg(long, default_value = "3x32x32", value_name = "CxHxW")]
    pub input: String,
    /// Number of classes of a zoo network
    #[arg(long, default_value_t = 10)]
    pub classes: usize,
    /// What to prune in attention blocks: the widths of the heads, or whole heads
    #[arg(long, default_value = "widths", value_name = "widths|heads")]
    pub attention: Attention,
    #[command(flatten)]
    pub sizes: InputSizes,
}

impl NetworkOptions {
    /// The image's size.
    pub fn image(&self) -> anyhow::Result<[usize; 3]> {
        let text = &self.input;
        let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[c, h, w]) if c > 0 && h > 0 && w > 0 => Ok([c, h, w]),
            _ => Err(Usage::error(format!(
                "--input '{text}': write channels x height x width, such as 3x224x224"
            ))),
        }
    }

    /// How channels are grouped.
    pub fn groups(&self) -> AnalysisOptions {
        AnalysisOptions {
            attention: self.attention,
        }
    }
}

/// What to prune, on what data, for which device, within which budget.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// ONNX file, or the name of a zoo network (see `graphprune inspect --zoo`). Omit it with
    /// --resume
    pub model: Option<String>,
    #[command(flatten)]
    pub sizes: InputSizes,
    /// Data set. Images by class: cifar10:DIR, mnist:DIR, fashion-mnist:DIR, idx:DIR, folder:DIR,
    /// wds:SHARDS (tar files), parquet:FILES, shapes (generated images). Inputs of any network,
    /// with or without labels: images:DIR, npz:DIR (arrays by input name), npy:DIR, wav:DIR,
    /// csv:FILE. Required for an ONNX file; default: shapes for a zoo network
    #[arg(long, value_name = "DATA")]
    pub data: Option<DataSpec>,
    #[command(flatten)]
    pub task: TaskOptions,
    /// Continue if more than 1 % of a folder's image files are unusable (other formats, truncated)
    #[arg(long)]
    pub allow_skipped: bool,
    /// Device: `local`, a registered name, a profile's name (all registered devices with it), or
    /// the path of a profile with an address. Several of one profile, separated by commas, share
    /// the measurements
    #[arg(long)]
    pub device: Option<DeviceSpec>,
    /// Store of measurements: `run` (in the run's folder), `user` (one file for all runs), or a
    /// file
    #[arg(long, value_name = "run|user|FILE")]
    pub measurements: Option<StorePlace>,
    /// Latency budget: a share of the original's (0.7x, 70%, 0.7) or a time (1.8ms). `prune` takes
    /// several, separated by commas, and makes a network for each
    #[arg(
        long,
        value_name = "LATENCY",
        value_delimiter = ',',
        value_parser = LatencyBudget::budget,
        allow_hyphen_values = true
    )]
    pub latency: Vec<LatencyBudget>,
    /// Budget of multiply-accumulates: a share of the original's (0.5x, 50%, 0.5)
    #[arg(long, value_name = "SHARE", value_parser = budget, allow_hyphen_values = true)]
    pub macs: Option<f64>,
    /// RAM budget on a bare-metal board, beside --latency or --macs (96k, 96KiB)
    #[arg(long, value_name = "BYTES")]
    pub ram: Option<Bytes>,
    /// Flash budget on a bare-metal board, likewise
    #[arg(long, value_name = "BYTES")]
    pub flash: Option<Bytes>,
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Continue the run in --out with the configuration it was started with
    #[arg(long)]
    pub resume: bool,
    /// Accept the pruned network even if the final measurement shows that it is slower than the
    /// original. With --resume it also accepts the network of a run that refused it
    #[arg(long, visible_alias = "force")]
    pub allow_slower: bool,
    /// TOML configuration; flags override it. A run writes all settings to config.toml in its
    /// folder
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Random seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Search strategy: ddpg, evolution, fisher, knapsack, random, uniform
    #[arg(long)]
    pub strategy: Option<StrategyKind>,
    /// Plan of another pruning tool to compare with: that network gets the same fine-tuning,
    /// measurement and test. Repeat it for several
    #[arg(long = "compare-plan", value_name = "FILE")]
    pub plans: Vec<PathBuf>,
    /// Weights that candidates are evaluated with: generated by the Graph PruningNet (always for
    /// ddpg), or the network's own, repaired by least squares, which fine-tuning then begins with
    #[arg(long, value_name = "generated|repaired")]
    pub weights: Option<EvaluationWeights>,
    /// Numbers of the result: those of the model, or floats and 8-bit integers by part of the
    /// network, as the search decides (joint pruning and quantisation)
    #[arg(long, value_name = "given|joint")]
    pub precision: Option<PrecisionChoice>,
    /// Number of configurations the search tries; strategies other than knapsack try ten times as
    /// many unless told otherwise
    #[arg(long)]
    pub episodes: Option<u64>,
    /// Epochs of joint training
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Epochs of fine-tuning
    #[arg(long, value_name = "EPOCHS")]
    pub finetune_epochs: Option<usize>,
    /// Epochs of quantisation-aware training after fine-tuning, of a network with integers
    #[arg(long, value_name = "EPOCHS")]
    pub qat_epochs: Option<usize>,
    /// What to prune in attention blocks: the widths of the heads, or whole heads
    #[arg(long, value_name = "widths|heads")]
    pub attention: Option<Attention>,
    /// How to treat a model with batch normalisations or dropouts in training mode: refuse it, or
    /// switch them to inference
    #[arg(long, value_name = "refuse|inference")]
    pub training_mode: Option<TrainingMode>,
    /// Export networks with an open batch where the model's is fixed; they keep the model's batch
    /// otherwise
    #[arg(long)]
    pub dynamic_batch: bool,
    #[command(flatten)]
    pub images: ImageOptions,
    /// Device to train on: cpu, cuda, cuda:1
    #[arg(long, value_name = "WHERE")]
    pub train_on: Option<String>,
    /// Number of training threads; 0 measures at the start which is fastest
    #[arg(long)]
    pub threads: Option<usize>,
    /// Check the device, the network, the data, the budget, the folder and its disk, print what the
    /// run would do, and stop
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Print only warnings
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunOptions {
    /// Starts or resumes the run.
    pub fn open(&self) -> anyhow::Result<Run> {
        let mut run = self.start_or_resume()?;
        if self.allow_slower {
            run.allow_slower();
        }
        Ok(run)
    }

    /// Whether the options are those of several runs.
    pub fn is_set(&self) -> bool {
        self.latency.len() > 1 || (self.resume && RunSet::is_at(&self.out))
    }

    /// Starts or resumes the runs for several budgets.
    pub fn open_set(&self) -> anyhow::Result<RunSet> {
        if self.resume {
            self.refuse_given()?;
            return Ok(RunSet::resume(&self.out)?);
        }
        let mut config = self.configuration()?;
        config.result.allow_slower |= self.allow_slower;
        Ok(RunSet::start(config, self.latency.clone(), &self.out)?)
    }

    fn start_or_resume(&self) -> anyhow::Result<Run> {
        if self.resume {
            self.refuse_given()?;
            return Ok(Run::resume(&self.out)?);
        }
        let mut run = Run::start(self.configuration()?, &self.out)?;
        run.given(&command_line::given())?;
        Ok(run)
    }

    /// Refuses settings beside --resume.
    fn refuse_given(&self) -> anyhow::Result<()> {
        let given = self.given();
        if given.is_empty() {
            return Ok(());
        }
        Err(Usage::error(format!(
            "--resume continues with the settings the run was started with; omit {}",
            given.join(", ")
        )))
    }

    /// The settings given on the command line besides the folder.
    fn given(&self) -> Vec<&'static str> {
        [
            ("MODEL", self.model.is_some()),
            ("--input-size", !self.sizes.input_sizes.is_empty()),
            ("--data", self.data.is_some()),
            ("--allow-skipped", self.allow_skipped),
            ("--device", self.device.is_some()),
            ("--measurements", self.measurements.is_some()),
            ("--latency", !self.latency.is_empty()),
            ("--macs", self.macs.is_some()),
            ("--ram", self.ram.is_some()),
            ("--flash", self.flash.is_some()),
            ("--config", self.config.is_some()),
            ("--seed", self.seed.is_some()),
            ("--strategy", self.strategy.is_some()),
            ("--compare-plan", !self.plans.is_empty()),
            ("--weights", self.weights.is_some()),
            ("--precision", self.precision.is_some()),
            ("--episodes", self.episodes.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--finetune-epochs", self.finetune_epochs.is_some()),
            ("--qat-epochs", self.qat_epochs.is_some()),
            ("--attention", self.attention.is_some()),
            ("--training-mode", self.training_mode.is_some()),
            ("--dynamic-batch", self.dynamic_batch),
            ("--train-on", self.train_on.is_some()),
            ("--threads", self.threads.is_some()),
        ]
        .into_iter()
        .chain(self.task.given())
        .chain(self.images.given())
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }

    /// The configuration that file and flags make.
    pub fn configuration(&self) -> anyhow::Result<RunConfig> {
        let mut config = read_configuration(self.config.as_deref())?;
        self.sizes.apply(self.model.as_deref(), &mut config.model);
        set(&mut config.device, self.device.clone());
        set(&mut config.measurements, self.measurements.clone());
        set_some(&mut config.budget.latency, self.latency.first().copied());
        set_some(&mut config.budget.macs, self.macs);
        set_some(&mut config.budget.ram, self.ram);
        set_some(&mut config.budget.flash, self.flash);
        set_some(&mut config.search.strategy, self.strategy);
        config.result.plans.extend(self.plans.iter().cloned());
        set(&mut config.groups.attention, self.attention);
        set(&mut config.training_mode, self.training_mode);
        config.result.dynamic_batch |= self.dynamic_batch;
        set_some(&mut config.data, self.data.clone());
        self.task.apply(&mut config.task);
        config.allow_skipped |= self.allow_skipped;
        set(&mut config.seed, self.seed);
        set_some(&mut config.search.weights, self.weights);
        set(&mut config.precision, self.precision);
        set_some(&mut config.search.episodes, self.episodes);
        set(&mut config.joint.epochs, self.epochs);
        set(&mut config.finetune.epochs, self.finetune_epochs);
        set(&mut config.qat.epochs, self.qat_epochs);
        set(&mut config.train_on, self.train_on.clone());
        set(&mut config.threads, self.threads);
        self.images.apply(&mut config.input);
        if config.model.name().is_empty() {
            return Err(Usage::error(
                "give a model: an ONNX file or the name of a zoo network",
            ));
        }
        Ok(config)
    }
}

/// Refuses options of images where there is no data.
pub fn need_data(images: &ImageOptions) -> anyhow::Result<()> {
    match images.first() {
        Some(name) => Err(Usage::error(format!(
            "{name} is about the images of a data set: give --data"
        ))),
        None => Ok(()),
    }
}

/// The configuration of a file, or the defaults.
pub fn read_configuration(path: Option<&Path>) -> anyhow::Result<RunConfig> {
    let Some(path) = path else {
        return Ok(RunConfig::default());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration '{}'", path.display()))?;
    Ok(RunConfig::from_toml(&text, Some(path.to_owned()))?)
}

fn set_some<T>(slot: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *slot = value;
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
