//! ONNX Runtime for a target, and a C library for targets whose own is unsuitable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::target::{LIBRARY, Target, entry, place};
use crate::debian::{self, Debian};
use crate::setup::{self, ONNX_RUNTIME, python::Environment};
use crate::shell::{self, Checkout};

/// The package of ONNX Runtime for targets without a wheel. The agent needs the API of 1.23.
const PACKAGE: &str = "libonnxruntime1.23";
/// A C and C++ library from the stable suite, which is small and supports old kernels.
const LIBC: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];

/// ONNX Runtime for one target.
pub struct Runtime {
    pub library: PathBuf,
    /// The folders of the libraries it needs, unless they are the target's.
    pub libraries: Option<Vec<PathBuf>>,
}

/// Downloads ONNX Runtime.
pub fn runtime(checkout: &Checkout, cross: &Path, target: &Target) -> Result<Runtime> {
    let folder = cross.join(format!("onnxruntime-{}", target.triple));
    let Some(wheel) = target.wheel else {
        if !folder.is_dir() {
            let debian = Debian::open(checkout)?;
            let root = format!("{PACKAGE}:{}", target.debian);
            let packages = debian.closure(&[&root])?;
            debian.unpack(&packages, debian::TESTING, &folder, &[])?;
        }
        let libraries = library_folders(&folder, target);
        let library = libraries
            .iter()
            .find_map(|folder| entry(folder, "libonnxruntime.so.").ok());
        let library = library.context("the package does not contain ONNX Runtime")?;
        return Ok(Runtime {
            library,
            libraries: Some(libraries),
        });
    };
    let library = folder.join(LIBRARY);
    if !library.is_file() {
        let environment = Environment::new(cross.join("venv"), cross.join("wheels"));
        let file = environment.fetch(ONNX_RUNTIME, &["manylinux_2_27", "manylinux_2_28"], wheel)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let aside = library.with_extension("tmp");
        let script = "import shutil, sys, zipfile\n\
                      wheel = zipfile.ZipFile(sys.argv[1])\n\
                      name, = (n for n in wheel.namelist() if '/libonnxruntime.so' in n)\n\
                      shutil.copyfileobj(wheel.open(name), open(sys.argv[2], 'wb'))";
        let mut python = environment.python();
        python.args(["-c", script]).arg(&file).arg(&aside);
        shell::output(&mut python)?;
        fs::rename(&aside, &library)
            .with_context(|| format!("cannot create {}", library.display()))?;
        setup::remove(&file)?;
    }
    Ok(Runtime {
        library,
        libraries: None,
    })
}

/// Downloads a C and C++ library for the target and returns their folders.
pub fn libc(debian: &Debian, cross: &Path, target: &Target) -> Result<Vec<PathBuf>> {
    let folder = cross.join(format!("libc-{}", target.triple));
    if !folder.is_dir() {
        let packages = LIBC.map(|name| format!("{name}:{}", target.debian));
        debian.unpack(&packages, debian::STABLE, &folder, &[])?;
    }
    Ok(library_folders(&folder, target))
}

fn library_folders(root: &Path, target: &Target) -> Vec<PathBuf> {
    let folders = ["lib", "usr/lib"].map(|lib| root.join(lib).join(target.folder));
    folders
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Copies to `to` all libraries in the folders `from` that `files` depend on, directly or not.
pub fn bundle(files: &[PathBuf], from: &[PathBuf], to: &Path) -> Result<Vec<PathBuf>> {
    let mut available = Vec::new();
    for folder in from {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let libraries = entries.flatten().map(|entry| entry.path());
        available.extend(libraries.filter(|path| path.is_file()));
    }
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    // A library in `files` contains its own name and would be copied again.
    let given: Vec<_> = files.iter().flat_map(fs::read).collect();
    available.retain(|path| fs::read(path).is_ok_and(|bytes| !given.contains(&bytes)));
    let mut chosen = BTreeSet::new();
    let mut next = files.to_vec();
    while let Some(path) = next.pop() {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let names: BTreeSet<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        for library in &available {
            let name = library.file_name().unwrap_or_default();
            if names.contains(name.as_encoded_bytes()) && chosen.insert(library.clone()) {
                next.push(library.clone());
            }
        }
    }
    let copy = |path: &PathBuf| place(path, &to.join(path.file_name().unwrap_or_default()));
    chosen.iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_holds_direct_and_indirect_dependencies_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let from = path("from");
        fs::create_dir(&from).unwrap();
        for (name, text) in [
            ("libm.so.6", "\0libc.so.6\0"),
            ("libc.so.6", "\0ld.so.1\0"),
            ("ld.so.1", ""),
            ("libother.so", ""),
            ("libxlibc.so.6", ""),
        ] {
            fs::write(from.join(name), text).unwrap();
        }
        fs::write(path("program"), "ELF\0libm.so.6\0").unwrap();
        fs::write(path("libown.so"), "\0libown.so.1\0").unwrap();
        fs::write(from.join("libown.so.1"), "\0libown.so.1\0").unwrap();
        let files = [path("program"), path("libown.so")];
        let bundled = bundle(&files, &[from], &path("to")).unwrap();
        let names: Vec<_> = bundled
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["ld.so.1", "libc.so.6", "libm.so.6"]);
    }
}
