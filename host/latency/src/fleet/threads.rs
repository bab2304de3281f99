//! Threads of devices.

use std::thread::ScopedJoinHandle;

/// Returns the result of a thread, and resumes its panic.
pub(super) fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
