//! The models of a guard.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use latency::Model;

/// The models of the arguments, in order, each with its name in a baseline.
pub(super) fn models(paths: &[PathBuf]) -> anyhow::Result<Vec<Model>> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for path in paths {
        let name = |path: &Path| {
            let name = path.file_stem().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let pruned = path.join("pruned.onnx");
        if pruned.is_file() && path.join("config.toml").is_file() {
            files.push((name(path), pruned));
        } else if path.is_dir() {
            let entries = std::fs::read_dir(path)
                .with_context(|| format!("cannot read the folder '{}'", path.display()))?;
            let mut inside: Vec<PathBuf> = entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
                .collect();
            inside.sort();
            if inside.is_empty() {
                bail!(
                    "the folder '{}' has no ONNX files and is no run",
                    path.display()
                );
            }
            files.extend(inside.into_iter().map(|path| (name(&path), path)));
        } else {
            files.push((name(path), path.clone()));
        }
    }
    for (i, (name, path)) in files.iter().enumerate() {
        if let Some((_, other)) = files[..i].iter().find(|(known, _)| known == name) {
            bail!(
                "'{}' and '{}' have the same name, and a baseline knows models by name",
                other.display(),
                path.display()
            );
        }
    }
    files
        .into_iter()
        .map(|(name, path)| Ok(Model::read(name, &path)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_runs_give_their_networks_and_equal_names_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
            path
        };
        file("set/b.onnx");
        file("set/a.onnx");
        file("set/notes.txt");
        file("run/config.toml");
        file("run/pruned.onnx");
        file("run/original.onnx");
        let one = file("one.onnx");
        let found = models(&[
            place.path().join("set"),
            place.path().join("run"),
            one.clone(),
        ]);
        let names: Vec<String> = found.unwrap().iter().map(|m| m.name().to_owned()).collect();
        assert_eq!(names, ["a", "b", "run", "one"]);
        let error = models(&[one, file("other/one.onnx")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("same name"), "{error}");
        assert!(models(&[place.path().join("nowhere.onnx")]).is_err());
    }
}
