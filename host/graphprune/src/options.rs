//! Options that commands share: those of a run, a TOML file, overridden by flags; and those of a network outside of any run.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use pipeline::{
    AnalysisOptions, Attention, DeviceSpec, ModelSpec, Run, RunConfig, StorePlace, StrategyKind,
    TrainingMode,
};

/// How a network is looked at outside of any run.
#[derive(Debug, Args)]
pub struct NetworkOptions {
    /// Image of a zoo network: channels x height x width
    #[arg(long, default_value = "3x32x32", value_name = "CxHxW")]
    pub input: String,
    /// Classes of a zoo network
    #[arg(long, default_value_t = 10)]
    pub classes: usize,
    /// What of an attention is pruned: the widths of its heads, or whole heads
    #[arg(long, default_value = "widths", value_name = "widths|heads")]
    pub attention: Attention,
}

impl NetworkOptions {
    /// The image's size.
    pub fn image(&self) -> anyhow::Result<[usize; 3]> {
        let text = &self.input;
        let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
        match sizes.as_deref() {
            Ok(&[c, h, w]) if c > 0 && h > 0 && w > 0 => Ok([c, h, w]),
            _ => {
                anyhow::bail!(
                    "--input '{text}': write channels x height x width, such as 3x224x224"
                )
            }
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
    /// ONNX file, or a network of the zoo by name (see `graphprune inspect --zoo`). Not needed with --resume
    pub model: Option<String>,
    /// Data set: cifar10:DIR, mnist:DIR, fashion-mnist:DIR, folder:DIR, shapes
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Device: `local`, a registered name, a profile's name (all registered devices of it), or the path of a profile with an
    /// address; several of one profile, with commas between, share the measurements
    #[arg(long)]
    pub device: Option<String>,
    /// Where measurements are kept and looked up: `run` (this run's folder), `user` (one file for all runs), or a file
    #[arg(long, value_name = "run|user|FILE")]
    pub measurements: Option<String>,
    /// Latency budget: a share of the original's (0.7x) or a time (1.8ms)
    #[arg(long)]
    pub latency: Option<String>,
    /// Budget of multiply-accumulates, as a share of the original's (0.5)
    #[arg(long)]
    pub macs: Option<f64>,
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Go on with the run in --out, with the configuration it was started with
    #[arg(long)]
    pub resume: bool,
    /// Take the pruned network even where the final measurement says that it is slower than the original. Can be given with
    /// --resume, also when a run has ended in the refusal
    #[arg(long, visible_alias = "force")]
    pub allow_slower: bool,
    /// TOML configuration; flags override it. A run writes all its settings to DIR/config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Search strategy: ddpg, evolution, random, uniform
    #[arg(long)]
    pub strategy: Option<String>,
    /// Configurations the search tries
    #[arg(long)]
    pub episodes: Option<u64>,
    /// Epochs of joint training
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Epochs of fine-tuning
    #[arg(long, value_name = "EPOCHS")]
    pub finetune_epochs: Option<usize>,
    /// What of an attention is pruned: the widths of its heads (the default), or whole heads
    #[arg(long, value_name = "widths|heads")]
    pub attention: Option<Attention>,
    /// What becomes of batch normalisations and dropouts that the model has in training mode: the model is refused (the
    /// default), or they are taken as they are at inference
    #[arg(long, value_name = "refuse|inference")]
    pub training_mode: Option<TrainingMode>,
    /// Export networks with an open batch where the model's is fixed (the default is the model's batch)
    #[arg(long)]
    pub dynamic_batch: bool,
    /// How pixels become the model's input: cifar10, imagenet, mnist, half, unit, none255
    #[arg(long, value_name = "PRESET")]
    pub normalise: Option<String>,
    /// Where to train: cpu, cuda, cuda:1
    #[arg(long, value_name = "WHERE")]
    pub train_on: Option<String>,
    /// Threads of the training (default: all cores)
    #[arg(long)]
    pub threads: Option<usize>,
    /// Print the outcome as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Show warnings only
    #[arg(long, short)]
    pub quiet: bool,
}

impl RunOptions {
    /// Starts or resumes the run.
    pub fn open(&self) -> anyhow::Result<Run> {
        let mut run = self.found()?;
        if self.allow_slower {
            run.allow_slower();
        }
        Ok(run)
    }

    fn found(&self) -> anyhow::Result<Run> {
        if self.resume {
            let given = self.given();
            anyhow::ensure!(
                given.is_empty(),
                "--resume goes on with the settings the run was started with; leave out {}",
                given.join(", ")
            );
            return Ok(Run::resume(&self.out)?);
        }
        Ok(Run::start(self.configuration()?, &self.out)?)
    }

    /// The settings given on the command line besides the folder.
    fn given(&self) -> Vec<&'static str> {
        [
            ("MODEL", self.model.is_some()),
            ("--data", self.data.is_some()),
            ("--device", self.device.is_some()),
            ("--measurements", self.measurements.is_some()),
            ("--latency", self.latency.is_some()),
            ("--macs", self.macs.is_some()),
            ("--config", self.config.is_some()),
            ("--seed", self.seed.is_some()),
            ("--strategy", self.strategy.is_some()),
            ("--episodes", self.episodes.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--finetune-epochs", self.finetune_epochs.is_some()),
            ("--attention", self.attention.is_some()),
            ("--training-mode", self.training_mode.is_some()),
            ("--dynamic-batch", self.dynamic_batch),
            ("--normalise", self.normalise.is_some()),
            ("--train-on", self.train_on.is_some()),
            ("--threads", self.threads.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }

    fn configuration(&self) -> anyhow::Result<RunConfig> {
        let mut config = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the configuration '{}'", path.display())
                })?;
                RunConfig::from_toml(&text, Some(path.clone()))?
            }
            None => RunConfig::default(),
        };
        if let Some(model) = &self.model {
            config.model = ModelSpec(model.clone());
        }
        if let Some(device) = &self.device {
            config.device = DeviceSpec(device.clone());
        }
        if let Some(place) = &self.measurements {
            config.measurements = StorePlace(place.clone());
        }
        if let Some(latency) = &self.latency {
            config.budget.latency = Some(latency.parse()?);
        }
        if self.macs.is_some() {
            config.budget.macs = self.macs;
        }
        if let Some(strategy) = &self.strategy {
            config.search.strategy = strategy.parse::<StrategyKind>()?;
        }
        set(&mut config.groups.attention, self.attention);
        set(&mut config.training_mode, self.training_mode);
        config.result.dynamic_batch |= self.dynamic_batch;
        set(&mut config.data, self.data.clone());
        set(&mut config.seed, self.seed);
        set(&mut config.search.episodes, self.episodes);
        set(&mut config.joint.epochs, self.epochs);
        set(&mut config.finetune.epochs, self.finetune_epochs);
        set(&mut config.train_on, self.train_on.clone());
        set(&mut config.threads, self.threads);
        if self.normalise.is_some() {
            config.normalise.clone_from(&self.normalise);
        }
        anyhow::ensure!(
            !config.model.0.is_empty(),
            "give a model: an ONNX file or the name of a zoo network"
        );
        Ok(config)
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
