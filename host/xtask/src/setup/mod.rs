//! `cargo xtask setup`: installs libtorch and ONNX Runtime from Python wheels into `.deps`.
//!
//! `.deps/venv` contains the packages; `.deps/libtorch` and `.deps/onnxruntime/libonnxruntime.so`
//! are links into it. `.deps/peers` is an environment with an importable PyTorch, for
//! comparisons, and `.deps/boards` contains the parts of the tests' devices. A stamp, written
//! last, marks an environment as complete; it lists the large libraries with their sizes, which
//! detects damage.

mod boards;
mod machine;
pub mod python;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

pub use self::machine::check_space;
use self::python::Environment;
pub use self::python::remove;
use crate::output::say;
use crate::shell::{self, Checkout};

/// Optional parts of the installation.
#[derive(Args, Default, Clone, Copy)]
pub struct Options {
    /// Also install the libraries for NVIDIA GPUs (4.8 GB instead of 1.4 GB)
    #[arg(long)]
    pub cuda: bool,
    /// Also install PyTorch into `.deps/peers`, for the comparison benchmarks (4.8 GB)
    #[arg(long)]
    pub peers: bool,
    /// Also install an SSH server, an ARM board and a phone for tests into `.deps/boards` (150
    /// MB)
    #[arg(long)]
    pub boards: bool,
}

/// The version that the `tch` crate requires.
const TORCH: &str = "torch==2.11.0";

/// The libraries that libtorch's CPU library loads; torch's other dependencies are not needed.
const CPU_LIBRARIES: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];

/// The version of ONNX Runtime on the host and on all devices with a wheel.
pub const ONNX_RUNTIME: &str = "onnxruntime==1.30.0";

/// ONNX Runtime, and the packages that check exported files.
const TOOLS: [&str; 8] = [
    ONNX_RUNTIME,
    "onnx==1.23.2",
    "numpy==2.4.6",
    "protobuf==7.36.2",
    "flatbuffers==25.12.19",
    "ml_dtypes==0.6.0",
    "typing_extensions==4.16.0",
    "packaging==26.0",
];

/// The packages whose networks `cargo xtask zoo` exports, and a pruner for comparison.
const ZOO: [&str; 8] = [
    "torchvision==0.26.0",
    "timm==1.0.31",
    "pytorchcv==0.0.74",
    "segmentation-models-pytorch==0.6.0",
    "ultralytics==8.4.190",
    "torch-pruning==1.6.1",
    "onnx2torch==1.5.15",
    "onnxscript==0.7.2",
];

/// Peak disk usage of an installation in bytes: the wheels and their unpacked content.
const CPU_SPACE: u64 = 2_500_000_000;
const FULL_SPACE: u64 = 9_000_000_000;

/// The packages of an environment.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    /// libtorch for the CPU, ONNX Runtime, onnx.
    Cpu,
    /// The same with all dependencies of torch.
    Full,
    /// PyTorch with collections of networks.
    Peers,
}

impl Set {
    /// The set with its versions; the first line of the stamp.
    fn title(self) -> String {
        let (name, roots) = match self {
            Self::Cpu => (
                "cpu",
                [&[TORCH], CPU_LIBRARIES.as_slice(), TOOLS.as_slice()].concat(),
            ),
            Self::Full => ("full", self.roots()),
            Self::Peers => ("peers", self.roots()),
        };
        format!("{name} {}", roots.join(" "))
    }

    fn roots(self) -> Vec<&'static str> {
        match self {
            Self::Peers => [&[TORCH, ONNX_RUNTIME, TOOLS[1], TOOLS[2]], ZOO.as_slice()].concat(),
            Self::Cpu | Self::Full => [&[TORCH], TOOLS.as_slice()].concat(),
        }
    }

    /// A Python program that fails unless the libraries load.
    fn trial(self) -> &'static str {
        match self {
            Self::Cpu => {
                "import ctypes, sysconfig, numpy, onnx, onnxruntime; \
                 ctypes.CDLL(sysconfig.get_path('purelib') + '/torch/lib/libtorch_cpu.so'); \
                 print('libtorch loads; ONNX Runtime', onnxruntime.__version__, 'and onnx', onnx.__version__, 'load')"
            }
            Self::Full => {
                "import torch, numpy, onnx, onnxruntime; print('torch', torch.__version__, 'with CUDA', \
                 torch.cuda.is_available(), 'and ONNX Runtime', onnxruntime.__version__, 'load')"
            }
            Self::Peers => {
                "import numpy, onnx, onnxruntime, onnxscript, timm, torch, torchvision; print('torch', torch.__version__, 'loads:', torch.ones(2).sum().item())"
            }
        }
    }

    /// The libraries whose sizes the stamp records, relative to the site packages.
    fn key_files(self) -> &'static [&'static str] {
        const TORCH_FILES: [&str; 3] = [
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libc10.so",
            "torch/lib/libtorch.so",
        ];
        const CPU_FILES: [&str; 5] = [
            TORCH_FILES[0],
            TORCH_FILES[1],
            TORCH_FILES[2],
            "nvidia/cu13/lib/libcudart.so.13",
            "nvidia/cu13/lib/libcupti.so.13",
        ];
        if self == Self::Peers {
            &TORCH_FILES
        } else {
            &CPU_FILES
        }
    }
}

/// Installs missing parts, including the peers.
pub fn with_peers(checkout: &Checkout) -> Result<()> {
    let options = Options {
        peers: true,
        ..Options::default()
    };
    run(checkout, &options)
}

/// Installs missing parts.
pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    shell::timed("setup", || {
        let deps = checkout.deps();
        let _lock = lock(checkout)?;
        machine::check_system()?;
        // An environment for CUDA works for the CPU as well.
        let accepted = if options.cuda {
            vec![Set::Full]
        } else {
            vec![Set::Cpu, Set::Full]
        };
        let set = install(&deps, "venv", &accepted)?;
        if options.boards {
            boards::run(checkout)?;
        }
        link(&deps)?;
        if options.peers {
            if set == Set::Full {
                place_link(Path::new("venv"), &deps.join("peers"))?;
            } else {
                install(&deps, "peers", &[Set::Peers])?;
            }
        }
        Ok(())
    })
}

/// Waits for exclusive access to `.deps`, which ends with the returned value.
pub fn lock(checkout: &Checkout) -> Result<File> {
    let deps = checkout.deps();
    fs::create_dir_all(&deps).with_context(|| format!("cannot create {}", deps.display()))?;
    let lock =
        File::create(deps.join(".lock")).context("cannot create the lock file of the setup")?;
    if lock.try_lock().is_err() {
        say!("waiting for another setup in this checkout");
        lock.lock().context("cannot lock the setup")?;
    }
    Ok(lock)
}

/// Ensures that `.deps/NAME` contains one of the `accepted` sets and returns it; installs the
/// first one if there is none.
fn install(deps: &Path, name: &str, accepted: &[Set]) -> Result<Set> {
    let folder = deps.join(name);
    let stamp = folder.join("stamp");
    if let Some(&set) = accepted.iter().find(|set| stamp_holds(&stamp, **set)) {
        say!(".deps/{name} is complete");
        return Ok(set);
    }
    let set = *accepted.first().context("no package set is accepted")?;
    machine::check_tools()?;
    machine::check_space(
        deps,
        if set == Set::Cpu {
            CPU_SPACE
        } else {
            FULL_SPACE
        },
    )?;
    say!("installing into .deps/{name}: {}", set.title());

    let wheels = deps.join("wheels");
    let environment = Environment::new(folder.clone(), wheels.clone());
    if !folder.is_symlink() {
        remove(&stamp)?;
    }
    environment.create()?;
    let pins = match set {
        Set::Cpu => set.title().split(' ').skip(1).map(str::to_owned).collect(),
        Set::Full | Set::Peers => environment.resolve(&set.roots())?,
    };
    environment.install(&pins)?;
    let loaded = shell::output(environment.python().args(["-c", set.trial()])).with_context(|| {
        format!("the packages in .deps/{name} are complete but do not load; is a system library missing?")
    })?;
    say!("{}", loaded.trim());
    write_stamp(&stamp, set, &environment.site_packages()?)?;
    remove(&wheels)?;
    Ok(set)
}

/// Links the fixed names in `.cargo/config.toml` to the installed libraries.
fn link(deps: &Path) -> Result<()> {
    let packages = Environment::new(deps.join("venv"), deps.join("wheels")).site_packages()?;
    let inside = packages
        .strip_prefix(deps.canonicalize()?)
        .context("the site packages are outside of the environment")?;
    place_link(&inside.join("torch"), &deps.join("libtorch"))?;

    let folder = packages.join("onnxruntime/capi");
    let name = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name.to_string_lossy().starts_with("libonnxruntime.so"));
    let Some(name) = name else {
        bail!("no libonnxruntime.so in {}", folder.display())
    };
    fs::create_dir_all(deps.join("onnxruntime"))?;
    let target = Path::new("..")
        .join(inside)
        .join("onnxruntime/capi")
        .join(name);
    place_link(&target, &deps.join("onnxruntime/libonnxruntime.so"))
}

/// Creates or replaces a link atomically.
pub fn place_link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|current| current == target) {
        return Ok(());
    }
    let aside = link.with_extension("tmp");
    remove(&aside)?;
    symlink(target, &aside)
        .with_context(|| format!("cannot create the link {}", link.display()))?;
    if link.is_dir() && !link.is_symlink() {
        remove(link)?;
    }
    fs::rename(&aside, link).with_context(|| format!("cannot create the link {}", link.display()))
}

fn write_stamp(stamp: &Path, set: Set, packages: &Path) -> Result<()> {
    let mut text = set.title() + "\n";
    for file in set.key_files() {
        let path = packages.join(file);
        let size = path
            .metadata()
            .with_context(|| format!("{} is missing", path.display()))?
            .len();
        text += &format!("{size} {}\n", path.display());
    }
    let aside = stamp.with_extension("tmp");
    fs::write(&aside, text).with_context(|| format!("cannot write {}", aside.display()))?;
    fs::rename(&aside, stamp).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Whether a stamp is for this set and the listed files have their sizes. This fails after a
/// checkout was moved, which repeats the installation without downloads.
fn stamp_holds(stamp: &Path, set: Set) -> bool {
    let Ok(text) = fs::read_to_string(stamp) else {
        return false;
    };
    let mut lines = text.lines();
    let python = stamp.with_file_name("bin").join("python");
    let same_file = |line: &str| {
        let (size, path) = line.split_once(' ').unwrap_or_default();
        let length = PathBuf::from(path).metadata().map(|file| file.len());
        length.is_ok_and(|length| size.parse() == Ok(length))
    };
    lines.next() == Some(set.title().as_str()) && python.exists() && lines.all(same_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(folder: &Path) {
        for file in Set::Cpu.key_files() {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "library").unwrap();
        }
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/python"), "").unwrap();
    }

    #[test]
    fn a_stamp_is_invalid_if_a_library_changes_size_or_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = folder.path().join("stamp");
        packages(folder.path());
        assert!(!stamp_holds(&stamp, Set::Cpu), "no stamp");
        write_stamp(&stamp, Set::Cpu, folder.path()).unwrap();
        assert!(stamp_holds(&stamp, Set::Cpu));
        assert!(!stamp_holds(&stamp, Set::Full), "the stamp of another set");
        fs::write(folder.path().join("torch/lib/libc10.so"), "lib").unwrap();
        assert!(!stamp_holds(&stamp, Set::Cpu), "a truncated library");
        fs::remove_file(folder.path().join("torch/lib/libc10.so")).unwrap();
        assert!(!stamp_holds(&stamp, Set::Cpu), "a missing library");
    }

    #[test]
    fn a_link_replaces_files_links_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("libtorch");
        for target in ["a", "b"] {
            place_link(Path::new(target), &link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        remove(&link).unwrap();
        fs::create_dir_all(link.join("old")).unwrap();
        place_link(Path::new("c"), &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("c"));
    }
}
