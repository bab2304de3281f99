//! Confines a worker, because a model is foreign input to a large library.
//!
//! [`limit`] comes first, then [`seal`], before the runtime's library is loaded: a library may
//! start threads as soon as it is loaded, and restrictions of one thread do not reach those that
//! already run. Layers that a platform lacks (an old kernel, an emulator, a kernel without
//! Landlock) are reported as missing, with the reason.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent_protocol::{Limits, MissingLayer, Sampling};
use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, getppid};
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

use super::layer::Missing;
use super::syscalls;
pub use super::syscalls::Sockets;
use crate::launch;

/// Maximum open files; drivers of accelerators need hundreds.
const MAX_FILES: u64 = 4096;
/// Maximum size of a file, bytes: a profile of many runs of a large network, a provider's
/// compiled model.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// Threads that the user may have beyond the current number on the whole system.
const MORE_THREADS: u64 = 512;
/// Preference of the kernel for killing a worker when memory runs out, of 1000.
const OOM_SCORE: &str = "800";

/// Folders of libraries and their settings, on Linux and Android, which every worker may read.
pub const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/OpenCL",
    "/etc/vulkan",
    "/etc/nv_tegra_release",
    "/system",
    "/system_ext",
    "/vendor",
    "/odm",
    "/product",
    "/apex",
    "/linkerconfig",
];
/// Folders with facts about the system.
const SYSTEM: &[&str] = &["/proc", "/sys"];
/// Prefixes of harmless devices and accelerators in `/dev`. Disks and terminals match none.
const DEVICES: &[&str] = &[
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "shm",
    "dri",
    "accel",
    "kgsl",
    "mali",
    "galcore",
    "rknpu",
    "nvidia",
    "nvhost",
    "nvmap",
    "nvgpu",
    "binder",
    "hwbinder",
    "vndbinder",
    "ashmem",
    "ion",
    "dma_heap",
    "adsprpc",
    "cdsprpc",
    "fastrpc",
    "ethosu",
    "apusys",
    "apex_",
];

/// Makes the kernel kill this process when the thread that started it ends. `agent` is that
/// thread's process. It makes system calls only, so it may be called between fork and exec.
pub fn tie_to(agent: u32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The agent may have ended before the line above.
    if u32::try_from(getppid().as_raw()) != Ok(agent) {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    Ok(())
}

/// Ties the worker to the agent and limits its resources.
pub fn limit(agent: u32, limits: &Limits, sampling: &Sampling) -> anyhow::Result<()> {
    // Repeated after exec, which clears the setting if the program gains privileges.
    tie_to(agent).context("tying the worker to the agent")?;
    // Without the privilege the worker keeps the agent's niceness; the samples report the actual
    // one.
    let _ = rustix::process::setpriority_process(None, sampling.nice);
    // Not available in every container. There the kernel chooses by size alone.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    set_no_new_privs(true).context("giving up privileges")?;
    lower(Resource::Core, 0).context("forbidding core dumps")?;
    lower(Resource::As, limits.memory_bytes).context("limiting memory")?;
    // The agent's clock ends the worker first; this limit holds if the agent is stopped. The
    // soft limit comes first because its signal identifies the cause, while the hard limit
    // kills.
    let seconds = (limits.time_ns / 1_000_000_000)
        .saturating_add(5)
        .saturating_mul(u64::from(sampling.threads) + 1);
    lower(Resource::Cpu, seconds.saturating_add(1)).context("limiting processor time")?;
    let hard = getrlimit(Resource::Cpu).maximum;
    let soft = Rlimit {
        current: Some(seconds),
        maximum: hard,
    };
    setrlimit(Resource::Cpu, soft).context("limiting processor time")?;
    lower(Resource::Nofile, MAX_FILES).context("limiting open files")?;
    lower(Resource::Fsize, MAX_FILE_BYTES).context("limiting the size of files")?;
    let threads = threads_of_all().saturating_add(MORE_THREADS + u64::from(sampling.threads));
    lower(Resource::Nproc, threads).context("limiting processes")?;
    if !sampling.cores.is_empty() {
        let mut set = CpuSet::new();
        for &core in &sampling.cores {
            set.set(core as usize)
                .with_context(|| format!("core {core}"))?;
        }
        sched_setaffinity(Pid::from_raw(0), &set)
            .with_context(|| format!("binding the worker to cores {:?}", sampling.cores))?;
    }
    Ok(())
}

/// Sets a limit unless a lower one is in force.
fn lower(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let now = getrlimit(resource);
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    setrlimit(
        resource,
        Rlimit {
            current: least(now.current),
            maximum: least(now.maximum),
        },
    )
}

/// Returns the number of threads on the whole system, which is at least that of this user.
fn threads_of_all() -> u64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all = load.split_whitespace().nth(3);
    all.and_then(|field| field.split_once('/')?.1.parse().ok())
        .unwrap_or(4096)
}

/// The resources a worker keeps access to.
pub struct Reach<'a> {
    /// The folder it may write to.
    pub folder: &'a Path,
    /// The files and folders it may read, besides those of the system.
    pub readable: Vec<PathBuf>,
    /// The sockets it may use.
    pub sockets: Sockets,
}

/// The outcome of each layer.
#[derive(Debug, Default)]
pub struct Confinement {
    /// The layers in effect.
    pub in_effect: Vec<String>,
    /// The others.
    pub missing: Vec<MissingLayer>,
}

impl Confinement {
    /// The layers that the kernel offers and that are not in effect.
    pub fn broken(&self) -> impl Iterator<Item = &MissingLayer> {
        self.missing.iter().filter(|missing| missing.offered)
    }

    /// Returns notes on them, for a measurement.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.broken().map(|missing| {
            format!(
                "the worker ran without {}: {}",
                missing.layer, missing.reason
            )
        })
    }
}

/// Irrevocably denies the network, other processes and all files out of reach. Returns the
/// layers in effect, the limits of [`limit`] among them, and the missing ones.
pub fn seal(reach: &Reach<'_>) -> Confinement {
    let mut confinement = Confinement::default();
    for (layer, outcome) in [
        ("no-new-privileges", Ok(())),
        ("limits", Ok(())),
        (
            "no-capabilities",
            only_thread().and_then(|()| give_up_capabilities()),
        ),
        (
            "files (landlock)",
            only_thread().and_then(|()| files(reach)),
        ),
        ("system calls (seccomp)", syscalls::deny(reach.sockets)),
    ] {
        match outcome {
            Ok(()) => confinement.in_effect.push(layer.to_owned()),
            Err(Missing { reason, offered }) => confinement.missing.push(MissingLayer {
                layer: layer.to_owned(),
                reason,
                offered,
            }),
        }
    }
    confinement
}

/// Drops root's capabilities, with which a kernel allows reading the memory maps and the
/// environment of other processes in spite of Landlock. Reading any file that Landlock allows
/// remains, because libraries may be in a user's folder.
fn give_up_capabilities() -> Result<(), Missing> {
    let failed = |error| Missing::failed(format!("capabilities cannot be given up: {error}"));
    let now = capabilities(None).map_err(failed)?;
    let left = now.permitted & CapabilitySet::DAC_READ_SEARCH;
    let sets = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(failed)
}

/// Checks that no other thread runs: capabilities and Landlock apply to the calling thread and
/// those it starts.
fn only_thread() -> Result<(), Missing> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(|error| {
        Missing::failed(format!("other threads may run: /proc/self/task: {error}"))
    })?;
    match threads.count() {
        1 => Ok(()),
        count => Err(Missing::failed(format!(
            "other threads run already ({}) and would stay free",
            count.saturating_sub(1)
        ))),
    }
}

/// Denies every file out of reach, and signals to other processes.
fn files(reach: &Reach<'_>) -> Result<(), Missing> {
    // The newest version whose rights are all handled here; on an older kernel the crate drops
    // the unsupported ones.
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let use_device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let system = SYSTEM.iter().chain(LIBRARIES).map(PathBuf::from);
    let readable = system.chain(reach.readable.iter().cloned());
    let outcome = (|| {
        Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(readable, read))?
            .add_rules(path_beneath_rules(devices(), use_device))?
            .add_rules(path_beneath_rules(
                [reach.folder],
                AccessFs::from_all(abi) & !AccessFs::Execute,
            ))?
            .restrict_self()
    })();
    let status = outcome.map_err(|error| Missing::failed(error.to_string()))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => Ok(()),
        (_, LandlockStatus::NotImplemented) => Err(Missing::not_offered(
            "the kernel was built without Landlock, or is older than 5.13",
        )),
        (_, LandlockStatus::NotEnabled) => Err(Missing::not_offered(
            "Landlock was not turned on when the kernel started (`lsm=landlock,...`)",
        )),
        _ => Err(Missing::failed("the kernel did not enforce the rules")),
    }
}

/// Returns the folders of libraries that a worker needs: those of the loaded libraries, because
/// libraries loaded later are most likely beside them, and those of the search path. This
/// program's folder is not among them unless it holds a library.
pub fn library_folders() -> Vec<PathBuf> {
    let mut all = loaded_from();
    all.extend(named_in_environment());
    all.into_iter().collect()
}

/// Returns the folders of all loaded libraries.
fn loaded_from() -> BTreeSet<PathBuf> {
    let program = launch::program().ok();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines()
        .filter_map(|line| Some(Path::new(&line[line.find('/')?..])))
        .filter(|file| program.as_deref() != Some(*file))
        .filter_map(Path::parent)
        .filter(|folder| *folder != Path::new("/"))
        .map(Path::to_owned)
        .collect()
}

/// Returns the search path of libraries, with that of Qualcomm's signal processors.
fn named_in_environment() -> Vec<PathBuf> {
    [("LD_LIBRARY_PATH", ':'), ("ADSP_LIBRARY_PATH", ';')]
        .into_iter()
        .filter_map(|(name, between)| Some((std::env::var(name).ok()?, between)))
        .flat_map(|(value, between)| {
            let folders = value.split(between).map(PathBuf::from);
            folders.collect::<Vec<_>>()
        })
        .filter(|folder| folder.is_absolute() && folder != Path::new("/"))
        .collect()
}

fn devices() -> Vec<PathBuf> {
    let all = std::fs::read_dir("/dev").into_iter().flatten();
    all.filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            DEVICES.iter().any(|begin| name.starts_with(begin))
        })
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests;
