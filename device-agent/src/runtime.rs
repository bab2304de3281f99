//! Where ONNX Runtime's library is.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::launch;

const LIBRARY: &str = "libonnxruntime.so";
/// Where the set-up of a checkout puts the library; a program built in it lies a few folders below.
const IN_CHECKOUT: &str = ".deps/onnxruntime";

/// The library: the one named, otherwise the one in ORT_DYLIB_PATH, otherwise one next to this program, otherwise that
/// of the checkout this program was built in.
pub fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let (path, from) = match (named, variable) {
        (Some(path), _) => (path.to_owned(), "--runtime"),
        (None, Some(path)) => (PathBuf::from(path), "ORT_DYLIB_PATH"),
        (None, None) => {
            let own = launch::program().context("finding this program's own place")?;
            let beside = own.with_file_name(LIBRARY);
            let in_checkout = own
                .ancestors()
                .map(|folder| folder.join(IN_CHECKOUT).join(LIBRARY));
            let path = std::iter::once(beside.clone())
                .chain(in_checkout)
                .find(|path| path.is_file())
                .unwrap_or(beside);
            (path, "the agent's own folder")
        }
    };
    if !path.is_file() {
        bail!(
            "ONNX Runtime's library {} (from {from}) is not there: name it with --runtime or ORT_DYLIB_PATH, or put libonnxruntime.so next to the agent",
            path.display()
        );
    }
    // The worker runs in another folder.
    path.canonicalize()
        .with_context(|| format!("resolving {}", path.display()))
}
