//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a target may take to come up. It takes half a second; many tests at once on few cores take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(10);

/// Asks until there is an answer, or until `limit` is over.
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
