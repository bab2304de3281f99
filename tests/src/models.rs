//! The sources of models under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the workspace")
}

/// Returns the Python interpreter of the peers: `GRAPHPRUNE_PYTHON`, otherwise the one that the
/// set-up installs.
#[must_use]
pub fn python() -> PathBuf {
    std::env::var_os("GRAPHPRUNE_PYTHON")
        .map_or_else(|| workspace().join(".deps/venv/bin/python"), PathBuf::from)
}

/// Returns the path of a script of `tests/peers`.
#[must_use]
pub fn peer_script(name: &str) -> PathBuf {
    workspace().join("tests/peers").join(name)
}

/// Returns a path in the shared folder (`GRAPHPRUNE_SHARED`, otherwise `shared` beside the
/// workspace). Prints a message and returns `None` when it is missing.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("GRAPHPRUNE_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!(
            "skipped: no {} (set GRAPHPRUNE_SHARED to the folder that holds models/ and data/)",
            path.display()
        );
        return None;
    }
    Some(path)
}

/// Returns the folder of a data set of the shared folder; `None` when it is missing.
#[must_use]
pub fn shared_data(name: &str) -> Option<PathBuf> {
    shared(&format!("data/{name}"))
}

/// Returns a trained model of the shared folder; `None` when it is missing.
///
/// # Panics
/// When the file exists and cannot be read.
#[must_use]
pub fn shared_model(file: &str) -> Option<Vec<u8>> {
    let path = shared(&format!("models/{file}"))?;
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Returns the folder that `make_models.py` writes, once per process.
fn made_folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let made = Command::new(python())
            .arg(peer_script("make_models.py"))
            .arg(folder.path())
            .status();
        let made = made.unwrap_or_else(|e| {
            panic!(
                "{}: {e} (`cargo xtask setup` installs it)",
                python().display()
            )
        });
        assert!(made.success(), "make_models.py failed");
        folder
    });
    folder.path()
}

/// Returns the names of the models that `tests/peers/make_models.py` makes, sorted.
///
/// # Panics
/// When the script fails.
#[must_use]
pub fn made_names() -> Vec<String> {
    let files = std::fs::read_dir(made_folder()).expect("the folder was just made");
    let name = |path: PathBuf| path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.filter_map(|f| name(f.ok()?.path())).collect();
    names.sort();
    names
}

/// Returns a model that `tests/peers/make_models.py` makes.
///
/// # Panics
/// When the script fails or makes no such model.
#[must_use]
pub fn made_model(name: &str) -> Vec<u8> {
    let path = made_folder().join(format!("{name}.onnx"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("make_models.py made no '{name}': {e}"))
}

/// Returns what ONNX Runtime's own quantiser makes of a model, in every format that it writes, by
/// name.
///
/// # Panics
/// When the script fails.
#[must_use]
pub fn quantized_models(model: &[u8]) -> Vec<(String, Vec<u8>)> {
    let folder = TempDir::new().expect("a temporary folder");
    let (given, made) = (folder.path().join("given.onnx"), folder.path().join("made"));
    std::fs::write(&given, model).expect("the folder was just made");
    std::fs::create_dir(&made).expect("the folder was just made");
    let run = Command::new(python())
        .arg(peer_script("quantize.py"))
        .args([&given, &made])
        .output();
    let run = run.unwrap_or_else(|e| panic!("{}: {e}", python().display()));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "quantize.py failed: {errors}");
    let files = std::fs::read_dir(&made).expect("the folder was just made");
    let named = files.map(|file| {
        let path = file.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        (
            name.into_owned(),
            std::fs::read(&path).expect("a readable model"),
        )
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}
