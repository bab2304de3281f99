//! The user's own commands: a score of an ONNX file, and a fine-tuning from one file to another.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use latency::run_program_until;
use onnx_graph::{Graph, read_sized};
use serde_json::Value;

use crate::config::TaskConfig;
use crate::error::PipelineError;
use crate::model::hex_sha256;
use crate::progress::StopFlag;
use crate::records::{Key, Records};

/// Why a command gave no result: one sentence without its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command of {option} {reason}")]
pub(crate) struct CommandFailure {
    option: &'static str,
    reason: String,
}

/// A command with its limit.
struct UserCommand<'a> {
    option: &'static str,
    text: &'a str,
    seconds: f64,
    stop: &'a StopFlag,
}

impl UserCommand<'_> {
    fn fail(&self, reason: impl Into<String>) -> CommandFailure {
        CommandFailure {
            option: self.option,
            reason: reason.into(),
        }
    }

    /// Runs the command in a shell, with files in the places of their marks, and returns its
    /// standard output.
    fn run(&self, files: &[(&str, &Path)]) -> Result<String, CommandFailure> {
        let mut script = self.text.to_owned();
        for (mark, path) in files {
            script = script.replace(mark, &quoted(path));
        }
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let limit = Duration::from_secs_f64(self.seconds);
        let finished = run_program_until(command, limit, &|| self.stop.is_set());
        let finished = finished.map_err(|e| self.fail(format!("did not start: {e}")))?;
        if finished.status.is_none() {
            let seconds = self.seconds;
            return Err(self.fail(format!("took more than {seconds} s and was ended")));
        }
        match finished.is_success() {
            true => Ok(finished.stdout),
            false => Err(self.fail(format!("failed ({})", finished.describe()))),
        }
    }
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The score in a command's output: the last line with anything on it, a number or JSON with
/// `score`.
fn parsed(output: &str) -> Option<f64> {
    let last = output
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())?;
    let value: Value = serde_json::from_str(last).ok()?;
    let score = match &value {
        Value::Object(all) => all.get("score")?.as_f64(),
        other => other.as_f64(),
    };
    score.filter(|score| score.is_finite())
}

/// The score of an ONNX file by the user's command; `None` if there is none. A file that was scored
/// before is not scored again.
pub(crate) fn user_score(
    (task, stop): (&TaskConfig, &StopFlag),
    records: &mut Records,
    onnx: &[u8],
) -> Result<Option<Result<f64, CommandFailure>>, PipelineError> {
    let Some(text) = &task.score_with else {
        return Ok(None);
    };
    let command = UserCommand {
        option: "--score-with",
        text,
        seconds: task.score_seconds,
        stop,
    };
    let key: Key<f64> = Key::of("user-score", &hex_sha256(&[onnx, text.as_bytes()].concat()));
    if let Some(score) = records.get(&key)? {
        return Ok(Some(Ok(score)));
    }
    let dir = scratch()?;
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, onnx).map_err(|e| PipelineError::io(&path, "write a network", e))?;
    let output = match command.run(&[("{model}", &path)]) {
        Ok(output) => output,
        Err(_) if stop.is_set() => return Err(PipelineError::Stopped),
        Err(failure) => return Ok(Some(Err(failure))),
    };
    let Some(score) = parsed(&output) else {
        let last = output.lines().rfind(|line| !line.trim().is_empty());
        let plain = |line: &str| -> String {
            let plain = line.chars().filter(|letter| !letter.is_control());
            plain.take(80).collect()
        };
        let reason = match last.map(plain) {
            Some(last) => {
                format!("printed '{last}', which is neither a number nor JSON with a score")
            }
            None => "printed nothing on its standard output, where its score belongs".to_owned(),
        };
        return Ok(Some(Err(command.fail(reason))));
    };
    records.finish(&key, &score)?;
    Ok(Some(Ok(score)))
}

/// The network that the user's command makes of `graph`, checked; `None` if there is no command.
pub(crate) fn user_training(
    (task, stop): (&TaskConfig, &StopFlag),
    graph: &Graph,
) -> Result<Option<Result<Graph, CommandFailure>>, PipelineError> {
    let Some(text) = &task.train_with else {
        return Ok(None);
    };
    let command = UserCommand {
        option: "--train-with",
        text,
        seconds: task.train_seconds,
        stop,
    };
    let dir = scratch()?;
    let (path, out) = (dir.path().join("model.onnx"), dir.path().join("out.onnx"));
    let fail = |source| PipelineError::Model {
        model: graph.name.clone(),
        source,
    };
    let bytes = onnx_graph::write(graph).map_err(fail)?;
    std::fs::write(&path, &bytes).map_err(|e| PipelineError::io(&path, "write a network", e))?;
    match command.run(&[("{model}", &path), ("{out}", &out)]) {
        Ok(_) => {}
        Err(_) if stop.is_set() => return Err(PipelineError::Stopped),
        Err(failure) => return Ok(Some(Err(failure))),
    }
    let Ok(bytes) = std::fs::read(&out) else {
        return Ok(Some(Err(command.fail("wrote no file to {out}"))));
    };
    let read = read_sized(bytes, &onnx_graph::NoExternalData, &[]);
    let read = read.and_then(|mut graph| graph.infer_shapes().map(|()| graph));
    Ok(Some(match read {
        Err(e) => Err(command.fail(format!("wrote a file that is no network: {e}"))),
        Ok(trained) => match difference(graph, &trained) {
            Some(difference) => Err(command.fail(format!("changed the network: {difference}"))),
            None => Ok(trained),
        },
    }))
}

fn scratch() -> Result<tempfile::TempDir, PipelineError> {
    tempfile::tempdir().map_err(|e| PipelineError::io(&std::env::temp_dir(), "make a folder in", e))
}

/// What a network has in another form than the one it was trained from.
fn difference(given: &Graph, trained: &Graph) -> Option<String> {
    let ports = |graph: &Graph, ids: &[onnx_graph::ValueId]| {
        let ports = ids.iter().map(|&id| {
            let value = graph.value(id);
            let rest = value
                .shape
                .as_ref()
                .map(|shape| shape.get(1..).map(<[_]>::to_vec));
            (value.name.clone(), value.dtype, rest)
        });
        ports.collect::<Vec<_>>()
    };
    if ports(given, given.inputs()) != ports(trained, trained.inputs()) {
        return Some("its inputs have other names, types or sizes".into());
    }
    if ports(given, given.outputs()) != ports(trained, trained.outputs()) {
        return Some("its outputs have other names, types or sizes".into());
    }
    // Vectors may differ: an exporter folds batch normalisations.
    let matrices = |graph: &Graph| {
        let inputs = graph
            .nodes()
            .iter()
            .flat_map(|node| node.inputs.iter().flatten());
        let shapes = inputs.filter_map(|&id| Some(graph.constant(id)?.dims().to_vec()));
        let mut shapes: Vec<Vec<usize>> = shapes.filter(|dims| dims.len() > 1).collect();
        shapes.sort();
        shapes
    };
    if matrices(given) != matrices(trained) {
        return Some("its weights have other shapes".into());
    }
    let constants = trained
        .ids()
        .filter_map(|id| trained.constant(id)?.as_f32());
    let mut numbers = constants.flatten();
    let is_finite = numbers.all(|number| number.is_finite());
    (!is_finite).then(|| "a weight is not a finite number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, seconds: f64, files: &[(&str, &Path)]) -> Result<String, CommandFailure> {
        let command = UserCommand {
            option: "--score-with",
            text,
            seconds,
            stop: &StopFlag::default(),
        };
        command.run(files)
    }

    #[test]
    fn a_score_is_the_last_line_a_number_or_json() {
        let check = |output: &str, score: Option<f64>| {
            assert_eq!(parsed(output), score, "{output}");
        };
        check("0.5\n", Some(0.5));
        check("epoch 1\n\n{\"score\": 37.2, \"other\": 1}\n\n", Some(37.2));
        check("-1e-3", Some(-1e-3));
        check("", None);
        check("mAP 0.5", None);
        check("{\"map\": 0.5}", None);
        check("nan", None);
        check("{\"score\": \"0.5\"}", None);
        check("inf", None);
        check("1e999", None);
        check("{\"score\": NaN}", None);
        check("0.5 of 1", None);
        check("[0.5]", None);
        check("\u{feff}0.5", None);
    }

    #[test]
    fn a_command_that_fails_hangs_or_is_killed_is_one_sentence() {
        let check = |text: &str, seconds: f64, words: &[&str]| {
            let failure = run(text, seconds, &[]).unwrap_err().to_string();
            assert!(
                failure.starts_with("the command of --score-with "),
                "{failure}"
            );
            assert!(!failure.contains('\n'), "{failure}");
            for word in words {
                assert!(failure.contains(word), "no '{word}' in {failure}");
            }
        };
        check("echo no data >&2; exit 3", 20.0, &["3", "no data"]);
        check("exec sleep 1000", 0.2, &["more than 0.2 s"]);
        check("kill -9 $$", 20.0, &["signal: 9"]);
        check("there-is-no-such-program", 20.0, &["not found"]);
    }

    #[test]
    fn a_path_is_one_word_whatever_it_contains() {
        let path = Path::new("a b/it's $HOME.onnx");
        let output = run("printf %s {model}", 20.0, &[("{model}", path)]);
        assert_eq!(output.unwrap(), "a b/it's $HOME.onnx");
    }
}
