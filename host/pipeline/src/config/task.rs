//! What the network is for, and the user's own commands in place of the task's score and training.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use train::{Followed, OutputForm};

use super::ConfigError;

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One class for each sample. The score is the share of correct ones.
    Classification,
    /// Any number of labels for each sample. The score is the F1 over all of them.
    MultiLabel,
    /// No labels: the network keeps to the outputs of the original. The score is its fidelity.
    Follow,
    /// A class for each position. The score is the mean intersection over union.
    Segmentation,
    /// Values. The score is one less their error relative to the spread of the targets.
    Regression,
}

impl TaskKind {
    /// All tasks.
    pub const ALL: [Self; 5] = [
        Self::Classification,
        Self::MultiLabel,
        Self::Follow,
        Self::Segmentation,
        Self::Regression,
    ];

    /// The name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multilabel",
            Self::Follow => "follow",
            Self::Segmentation => "segmentation",
            Self::Regression => "regression",
        }
    }
}

impl FromStr for TaskKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let reason = format!(
                "'{text}' is none of classification, multilabel, follow, segmentation, regression"
            );
            ConfigError::value("task.kind", reason)
        })
    }
}

/// An output that the task reads: `NAME`, and behind `=` its form (`classes` or `values`), its
/// weight, or both as `classes:0.5`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutputChoice(pub Followed);

impl FromStr for OutputChoice {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut followed = Followed {
            name: text.to_owned(),
            weight: 1.0,
            form: None,
        };
        if let Some((name, settings)) = text.rsplit_once('=') {
            name.clone_into(&mut followed.name);
            for setting in settings.split(':') {
                match setting {
                    "classes" => followed.form = Some(OutputForm::Classes),
                    "values" => followed.form = Some(OutputForm::Values),
                    weight => {
                        let weight = weight.parse().ok();
                        let weight = weight.filter(|w: &f64| w.is_finite() && *w >= 0.0);
                        followed.weight = weight.ok_or_else(|| {
                            let reason = format!(
                                "'{setting}' in '{text}' is neither classes, values nor a weight of at least 0"
                            );
                            ConfigError::value("task.outputs", reason)
                        })?;
                    }
                }
            }
        }
        if followed.name.is_empty() {
            return Err(ConfigError::value(
                "task.outputs",
                format!("'{text}' names no output"),
            ));
        }
        Ok(Self(followed))
    }
}

impl fmt::Display for OutputChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Followed { name, weight, form } = &self.0;
        let form = form.map(|form| match form {
            OutputForm::Classes => "classes",
            OutputForm::Values => "values",
        });
        match (form, *weight) {
            (None, 1.0) if !name.contains('=') => f.write_str(name),
            (None, weight) => write!(f, "{name}={weight}"),
            (Some(form), 1.0) => write!(f, "{name}={form}"),
            (Some(form), weight) => write!(f, "{name}={form}:{weight}"),
        }
    }
}

impl TryFrom<String> for OutputChoice {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<OutputChoice> for String {
    fn from(choice: OutputChoice) -> Self {
        choice.to_string()
    }
}

/// What the network is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskConfig {
    /// The task; when absent, `classification` where the data has a class for each sample, and
    /// `follow` elsewhere.
    pub kind: Option<TaskKind>,
    /// Outputs that `follow` keeps to, or the one that `segmentation` reads: `NAME`, and behind `=`
    /// its form (`classes` or `values`), its weight, or both as `classes:0.5`. All outputs of
    /// floats when empty; classes are those behind a softmax.
    #[schemars(with = "Vec<String>")]
    pub outputs: Vec<OutputChoice>,
    /// A command that prints a score for the ONNX file in place of `{model}`: a number, or JSON
    /// with `score`; more is better. It replaces the task's score after each fine-tuning, for the
    /// choice of the result, and in the final table.
    pub score_with: Option<String>,
    /// Whether `score_with` also scores the candidates of the search, with their repaired weights,
    /// in place of the task's score.
    pub score_search: bool,
    /// A command that fine-tunes the ONNX file in place of `{model}` and writes the result to
    /// `{out}`. It replaces the fine-tuning.
    pub train_with: Option<String>,
    /// Most seconds of one call of `score_with`.
    pub score_seconds: f64,
    /// Most seconds of one call of `train_with`.
    pub train_seconds: f64,
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self {
            kind: None,
            outputs: Vec::new(),
            score_with: None,
            score_search: false,
            train_with: None,
            score_seconds: 600.0,
            train_seconds: 86_400.0,
        }
    }
}

impl TaskConfig {
    /// The outputs as the task takes them.
    pub(crate) fn followed(&self) -> Vec<Followed> {
        self.outputs.iter().map(|of| of.0.clone()).collect()
    }

    /// Whether the user's command scores the candidates of the search.
    pub(crate) fn scores_search(&self) -> bool {
        self.score_search && self.score_with.is_some()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let holds = |command: &Option<String>, mark: &str| {
            command.as_ref().is_none_or(|text| text.contains(mark))
        };
        let limits = |seconds: f64| seconds > 0.0 && seconds.is_finite();
        for (key, holds, reason) in [
            (
                "task.score_with",
                holds(&self.score_with, "{model}"),
                "the command must contain {model}: the place of the file",
            ),
            (
                "task.score_search",
                !self.score_search || self.score_with.is_some(),
                "needs the command of task.score_with (--score-with)",
            ),
            (
                "task.train_with",
                holds(&self.train_with, "{model}") && holds(&self.train_with, "{out}"),
                "the command must contain {model} and {out}: the places of the files",
            ),
            (
                "task.score_seconds",
                limits(self.score_seconds),
                "must be a positive number",
            ),
            (
                "task.train_seconds",
                limits(self.train_seconds),
                "must be a positive number",
            ),
        ] {
            if !holds {
                return Err(ConfigError::value(key, reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_chosen_by_name_form_and_weight() {
        let check = |text: &str, name: &str, form: Option<OutputForm>, weight: f64| {
            let choice: OutputChoice = text.parse().unwrap();
            let expected = Followed {
                name: name.into(),
                weight,
                form,
            };
            assert_eq!(choice.0, expected, "{text}");
            assert_eq!(choice.to_string().parse::<OutputChoice>().unwrap(), choice);
        };
        check("boxes", "boxes", None, 1.0);
        check("scores:0", "scores:0", None, 1.0);
        check("scores=2.5", "scores", None, 2.5);
        check("logits=classes", "logits", Some(OutputForm::Classes), 1.0);
        check("a=b=values:0.5", "a=b", Some(OutputForm::Values), 0.5);
        for refused in ["", "=1", "x=-1", "x=nan", "x=class"] {
            let error = refused.parse::<OutputChoice>().unwrap_err().to_string();
            assert!(error.starts_with("task.outputs: "), "{error}");
        }
    }

    #[test]
    fn a_command_needs_the_places_of_its_files() {
        let check = |text: &str, key: &str| {
            let config: TaskConfig = toml::from_str(text).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        };
        check("score_with = 'eval'", "task.score_with");
        check("score_search = true", "task.score_search");
        check("train_with = 'train {model}'", "task.train_with");
        check("score_seconds = 0.0", "task.score_seconds");
        TaskConfig::default().check().unwrap();
    }
}
