//! Ctrl-C: the first asks the run to stop at the next safe point, the second ends the process at
//! once (which a run survives as well as a power cut).

use crate::output::note;
use anyhow::Context as _;
use pipeline::StopFlag;

/// A flag that Ctrl-C (and SIGTERM) sets.
pub fn on_interrupt() -> anyhow::Result<StopFlag> {
    let flag = StopFlag::default();
    let handler = flag.clone();
    ctrlc::set_handler(move || {
        if handler.set() {
            std::process::exit(130);
        }
        note!("\nstopping after the current step; press Ctrl-C again to stop at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}
