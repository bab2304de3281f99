//! Devices, threads and seeds.

use std::path::PathBuf;
use std::sync::OnceLock;

use tch::{Cuda, Device};

use crate::ExecError;

/// Parses a device name: `cpu`, `cuda` or `cuda:N`.
///
/// The linker drops libtorch's CUDA library because no symbol refers to it. The first request for
/// CUDA therefore loads it from `$LIBTORCH/lib`, or from the loader's search path. libtorch
/// caches its first answer about CUDA, so call this function before any other use of libtorch.
///
/// # Errors
/// [`ExecError::DeviceName`] for another name; [`ExecError::Cuda`] if the library, the driver or
/// the numbered device is missing.
pub fn parse_device(name: &str) -> Result<Device, ExecError> {
    let unknown = || ExecError::DeviceName {
        name: name.to_owned(),
    };
    let index = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => 0,
        Some(("cuda", n)) => n.parse::<usize>().map_err(|_| unknown())?,
        _ => return Err(unknown()),
    };
    load_cuda()?;
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if !Cuda::is_available() || index >= count {
        let reason = format!("libtorch sees {count} devices, number {index} was asked for");
        return Err(ExecError::Cuda { reason });
    }
    Ok(Device::Cuda(index))
}

fn load_cuda() -> Result<(), ExecError> {
    static LOADED: OnceLock<Result<libloading::Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let file = libloading::library_filename("torch_cuda");
        let path = match std::env::var_os("LIBTORCH") {
            Some(root) => PathBuf::from(root).join("lib").join(&file),
            None => PathBuf::from(&file),
        };
        // SAFETY: the library's initialisers only register CUDA kernels with libtorch, which this
        // program is linked to; the static keeps it loaded until the program ends.
        unsafe { open_global(&path) }.map_err(|e| format!("{} did not load ({e})", path.display()))
    });
    match loaded {
        Ok(_) => Ok(()),
        Err(reason) => Err(ExecError::Cuda {
            reason: reason.clone(),
        }),
    }
}

/// # Safety
/// As [`libloading::Library::new`]: the library's initialisers must be sound to run.
#[cfg(unix)]
unsafe fn open_global(path: &std::path::Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
    // SAFETY: passed on to the caller.
    unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }.map(Into::into)
}

/// # Safety
/// As [`libloading::Library::new`]: the library's initialisers must be sound to run.
#[cfg(not(unix))]
unsafe fn open_global(path: &std::path::Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: passed on to the caller.
    unsafe { libloading::Library::new(path) }
}

/// Returns whether `device` supports bfloat16 in hardware. Without it,
/// [`Precision::Bf16`](crate::Precision) is emulated and about ten times slower than full
/// precision. CUDA devices are assumed to support it, as all have since 2020.
#[must_use]
pub fn has_bf16(device: Device) -> bool {
    if device.is_cuda() {
        return true;
    }
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("bf16")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

/// Makes glibc's allocator keep freed memory for later allocations; does nothing elsewhere.
///
/// A training step frees and allocates the same hundreds of megabytes each time. Returning them
/// to the system in between costs page faults: about 5 % of a ResNet-20 step on a CPU, 11 % with
/// channels last. The process then stays at its peak memory. [`Program`](crate::Program) calls
/// this function when the first graph is compiled.
pub fn reuse_memory() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            // The largest threshold glibc accepts.
            const MAP_ABOVE: i32 = 32 << 20;
            const TRIM_ABOVE: i32 = 1 << 30;
            // SAFETY: mallopt takes two integers and only changes the allocator's thresholds; it
            // locks its own state.
            let kept = unsafe {
                libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_ABOVE) == 1
                    && libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_ABOVE) == 1
            };
            if !kept {
                tracing::debug!(
                    "the allocator rejected new thresholds; training is a few percent slower"
                );
            }
        }
    });
}

/// Seeds libtorch's random generators on all devices, for programs with one thread that draws: the
/// generators belong to the process.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that states the limits"
)]
pub fn seed(seed: i64) {
    tch::manual_seed(seed);
}

/// Sets the number of threads of an operation; 0 counts as 1.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// Returns the number of threads of an operation.
#[must_use]
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_device_names_are_accepted() {
        assert_eq!(parse_device("cpu").unwrap(), Device::Cpu);
        for bad in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "cuda:-1"] {
            assert!(
                matches!(parse_device(bad), Err(ExecError::DeviceName { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn cuda_is_available_or_refused_with_a_reason() {
        match parse_device("cuda:0") {
            Ok(device) => assert_eq!(device, Device::Cuda(0)),
            Err(error) => assert!(matches!(error, ExecError::Cuda { .. }), "{error}"),
        }
    }
}
