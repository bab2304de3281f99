//! Options of a run's task, and of the user's own commands.

use clap::Args;
use pipeline::{OutputChoice, TaskConfig, TaskKind};

/// What the network is for.
#[derive(Debug, Default, Args)]
pub struct TaskOptions {
    /// What the network is for: classification, multilabel, follow (no labels: keep to the
    /// original's outputs), segmentation or regression. Default: classification if the data has a
    /// class for each sample, follow otherwise
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskKind>,
    /// Output that --task follow keeps to (segmentation: the one with the classes), and behind =
    /// its form or its weight: logits=classes, boxes=values:0.5. Repeat it for several; default:
    /// all outputs of floats
    #[arg(long = "output", value_name = "NAME[=FORM][:WEIGHT]")]
    pub outputs: Vec<OutputChoice>,
    /// Command that prints a score (a number, or JSON with "score"; more is better) for the ONNX
    /// file in place of {model}: "python eval.py {model}". Replaces the task's score after each
    /// fine-tuning and in the final table
    #[arg(long, value_name = "CMD")]
    pub score_with: Option<String>,
    /// Let --score-with score the candidates of the search, too, in place of the task's score: a
    /// call for each candidate
    #[arg(long)]
    pub score_search: bool,
    /// Command that fine-tunes the ONNX file in place of {model} and writes {out}. Replaces the
    /// fine-tuning
    #[arg(long, value_name = "CMD")]
    pub train_with: Option<String>,
}

impl TaskOptions {
    /// The options given, by name.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("--task", self.task.is_some()),
            ("--output", !self.outputs.is_empty()),
            ("--score-with", self.score_with.is_some()),
            ("--score-search", self.score_search),
            ("--train-with", self.train_with.is_some()),
        ]
        .into_iter()
    }

    /// Overrides the settings that are given.
    pub fn apply(&self, config: &mut TaskConfig) {
        config.kind = self.task.or(config.kind);
        if !self.outputs.is_empty() {
            config.outputs.clone_from(&self.outputs);
        }
        if self.score_with.is_some() {
            config.score_with.clone_from(&self.score_with);
        }
        config.score_search |= self.score_search;
        if self.train_with.is_some() {
            config.train_with.clone_from(&self.train_with);
        }
    }
}
