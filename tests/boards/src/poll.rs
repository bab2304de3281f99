//! Polling of conditions.

use std::time::{Duration, Instant};

/// Time a target may take to start. It takes half a second alone; with many tests on few cores
/// it takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(10);

/// Polls until there is a value, or until `limit` has passed.
pub(crate) fn until<T, E>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if begun.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}
