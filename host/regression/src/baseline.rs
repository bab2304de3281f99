//! Baselines: latencies and models to compare with.

use std::path::{Path, PathBuf};

use latency::{InputShape, Key, Model, Sha256};
use serde::{Deserialize, Serialize};

use crate::RegressionError;

/// The version of the file format.
const FORM: u32 = 1;

/// The latency of one model on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The model's name: that of its file or run. It identifies the model across changes of its
    /// content.
    pub model: String,
    /// The digest of its content.
    pub sha256: Sha256,
    /// The device's identity.
    pub device: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// Threads, providers and the other settings that affect latency, as in a [`Key`].
    pub setup: String,
    /// Sizes of the inputs that the model leaves open; part of the setup as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputShape>,
    /// Median latency of each worker process, ns.
    pub medians_ns: Vec<f64>,
    /// The same in units of the device's pace; empty if the pace is unknown.
    pub paced: Vec<f64>,
    /// Peak memory of a process of its own, bytes; unknown in baselines of versions without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Time of the measurement, ns since 1970.
    pub taken_unix_ns: u64,
}

/// A named set of entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    form: u32,
    /// One entry per model, device and setup.
    pub entries: Vec<Entry>,
}

impl Baseline {
    /// Creates a baseline of these entries.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self {
            form: FORM,
            entries,
        }
    }

    /// Returns the entry of a model on a device with this setup. The runtime's version does not
    /// have to match, so that an update of the runtime can be compared.
    pub fn find(&self, model: &str, device: &str, setup: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|e| e.model == model && e.device == device && e.setup == setup)
    }

    /// Returns the baseline's input sizes for a model given without any, on the device and with
    /// the setup of `key`.
    pub fn inputs(&self, model: &Model, key: &Key) -> Option<&[InputShape]> {
        let sized = |entry: &&Entry| {
            entry.model == model.name()
                && entry.device == key.device
                && !entry.inputs.is_empty()
                && entry.setup == key.clone().with_inputs(&entry.inputs).setup
        };
        let plain = self.find(model.name(), &key.device, &key.setup);
        let entry = self.entries.iter().find(sized);
        entry
            .filter(|_| model.inputs().is_empty() && plain.is_none())
            .map(|entry| entry.inputs.as_slice())
    }

    /// Adds entries. They replace those of the same model, device and setup.
    pub fn put(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let same = |old: &Entry| {
                old.model == entry.model && old.device == entry.device && old.setup == entry.setup
            };
            self.entries.retain(|old| !same(old));
            self.entries.push(entry);
        }
        self.entries
            .sort_by(|a, b| (&a.model, &a.device, &a.setup).cmp(&(&b.model, &b.device, &b.setup)));
    }
}

/// A folder of baselines: `NAME.json` for each, and `models/SHA256.onnx`.
#[derive(Clone, Debug)]
pub struct BaselineFolder {
    path: PathBuf,
}

impl BaselineFolder {
    /// The folder at `path`, which does not have to exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns Criterion's folder.
    pub fn statistics(&self) -> PathBuf {
        self.path.join("criterion")
    }

    /// Returns the path of the history's store.
    pub fn history(&self) -> PathBuf {
        self.path.join("history.sqlite")
    }

    fn file(&self, name: &str) -> Result<PathBuf, RegressionError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(RegressionError::Name { name: name.into() });
        }
        Ok(self.path.join(format!("{name}.json")))
    }

    fn model_file(&self, sha256: Sha256) -> PathBuf {
        self.path.join("models").join(format!("{sha256}.onnx"))
    }

    /// Returns the names of the baselines, ascending.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                Some(
                    entry
                        .file_name()
                        .to_str()?
                        .strip_suffix(".json")?
                        .to_owned(),
                )
            })
            .collect();
        names.sort();
        names
    }

    /// Reads a baseline, or returns `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if its file is unreadable or damaged.
    pub fn read(&self, name: &str) -> Result<Option<Baseline>, RegressionError> {
        let path = self.file(name)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(RegressionError::Io {
                    doing: "read",
                    path,
                    source,
                });
            }
        };
        let baseline: Baseline =
            serde_json::from_str(&text).map_err(|error| RegressionError::Baseline {
                path: path.clone(),
                detail: format!("it cannot be read ({error}); save it again"),
            })?;
        if baseline.form != FORM {
            return Err(RegressionError::Baseline {
                path,
                detail: format!(
                    "it has format {}, this graphprune supports {FORM}; save it again",
                    baseline.form
                ),
            });
        }
        Ok(Some(baseline))
    }

    /// Reads an existing baseline.
    ///
    /// # Errors
    /// Fails as [`BaselineFolder::read`] does, and if the baseline does not exist.
    pub fn get(&self, name: &str) -> Result<Baseline, RegressionError> {
        self.read(name)?.ok_or_else(|| RegressionError::NoBaseline {
            name: name.into(),
            folder: self.path.clone(),
            known: self.names(),
        })
    }

    /// Returns the content of a baseline's model, or `None` if it is missing or does not match
    /// its digest.
    pub fn model(&self, sha256: Sha256) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.model_file(sha256)).ok()?;
        (Sha256::of(&bytes) == sha256).then_some(bytes)
    }

    /// Writes the contents of a baseline's models, then the baseline.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn write<'a>(
        &self,
        name: &str,
        baseline: &Baseline,
        models: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), RegressionError> {
        let file = self.file(name)?;
        for bytes in models {
            let path = self.model_file(Sha256::of(bytes));
            if !path.is_file() {
                write(&path, bytes)?;
            }
        }
        let text =
            serde_json::to_string_pretty(baseline).map_err(|error| RegressionError::Baseline {
                path: file.clone(),
                detail: error.to_string(),
            })?;
        write(&file, text.as_bytes())
    }
}

/// Writes a file, in a folder that is made where it is missing.
fn write(path: &Path, bytes: &[u8]) -> Result<(), RegressionError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| whole_file::write(path, bytes))
        .map_err(|source| RegressionError::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(model: &str, median: f64) -> Entry {
        Entry {
            model: model.into(),
            sha256: Sha256::of(model.as_bytes()),
            device: "local-1".into(),
            runtime: "1".into(),
            setup: "threads=1".into(),
            inputs: Vec::new(),
            medians_ns: vec![median],
            paced: vec![],
            peak_memory_bytes: None,
            taken_unix_ns: 1,
        }
    }

    #[test]
    fn a_baseline_and_its_models_survive_the_round_trip() {
        let place = tempfile::tempdir().unwrap();
        let folder = BaselineFolder::new(place.path().join("new"));
        let mut baseline = Baseline::new(vec![entry("b", 1.0)]);
        baseline.put(vec![entry("a", 2.0), entry("b", 3.0)]);
        let medians: Vec<f64> = baseline.entries.iter().map(|e| e.medians_ns[0]).collect();
        assert_eq!(medians, [2.0, 3.0]);
        folder.write("main", &baseline, [b"a".as_slice()]).unwrap();
        assert_eq!(folder.get("main").unwrap(), baseline);
        assert_eq!(folder.model(Sha256::of(b"a")).unwrap(), b"a");
        assert_eq!(folder.model(Sha256::of(b"b")), None);
        assert!(baseline.find("a", "local-1", "threads=1").is_some());
        assert_eq!(baseline.find("a", "local-1", "threads=2"), None);
    }

    #[test]
    fn a_baseline_without_input_sizes_opens_and_one_with_sizes_keeps_them() {
        let place = tempfile::tempdir().unwrap();
        let folder = BaselineFolder::new(place.path());
        let digest = Sha256::of(b"a");
        let old = format!(
            r#"{{"form": 1, "entries": [{{"model": "a", "sha256": "{digest}", "device": "d", "runtime": "1",
            "setup": "threads=1", "medians_ns": [1.0], "paced": [], "taken_unix_ns": 1}}]}}"#
        );
        std::fs::write(place.path().join("old.json"), old).unwrap();
        assert!(folder.get("old").unwrap().entries[0].inputs.is_empty());
        let model = Model::new("a", b"a".as_slice());
        let key = Key {
            model: digest,
            reference: None,
            device: "d".into(),
            runtime: "1".into(),
            setup: "threads=1".into(),
        };
        assert_eq!(folder.get("old").unwrap().inputs(&model, &key), None);

        let inputs = vec![InputShape {
            name: "x".into(),
            dims: vec![1, 3, 8, 8],
        }];
        let sized = Entry {
            device: "d".into(),
            setup: key.clone().with_inputs(&inputs).setup,
            inputs: inputs.clone(),
            ..entry("a", 1.0)
        };
        folder
            .write("new", &Baseline::new(vec![sized]), [b"a".as_slice()])
            .unwrap();
        let new = folder.get("new").unwrap();
        assert_eq!(new.inputs(&model, &key), Some(inputs.as_slice()));
        assert_eq!(new.inputs(&model.with_inputs(inputs), &key), None);
    }

    #[test]
    fn an_unusable_baseline_is_refused_with_the_reason() {
        let place = tempfile::tempdir().unwrap();
        let folder = BaselineFolder::new(place.path());
        let check = |name: &str, needle: &str| {
            let error = folder.get(name).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        };
        check("main", "--save-baseline");
        check("../main", "cannot be a baseline's name");
        std::fs::write(
            place.path().join("old.json"),
            "{\"form\": 9, \"entries\": []}",
        )
        .unwrap();
        std::fs::write(place.path().join("torn.json"), "{\"form\": 1, \"ent").unwrap();
        check("old", "format 9");
        check("torn", "save it again");
        check("main", "there are old, torn");
        std::fs::create_dir(place.path().join("models")).unwrap();
        let file = place
            .path()
            .join("models")
            .join(format!("{}.onnx", Sha256::of(b"a")));
        std::fs::write(file, "changed").unwrap();
        assert_eq!(
            folder.model(Sha256::of(b"a")),
            None,
            "the content does not match the name"
        );
    }
}
