//! Ctrl-C: the command stops at the next safe point, and ends at once where none is near. A run
//! survives that as well as a power cut.

use std::thread;
use std::time::Duration;

use crate::exit;
use crate::output::note;
use anyhow::Context as _;
use pipeline::StopFlag;

/// The time within which a stage should reach a safe point. A stage that computes for longer
/// without one, such as the evaluation of a large network, is ended in the middle of its work.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A flag that Ctrl-C (and SIGTERM) sets.
pub fn on_interrupt() -> anyhow::Result<StopFlag> {
    let flag = StopFlag::default();
    let handler = flag.clone();
    ctrlc::set_handler(move || {
        if handler.set() {
            end();
        }
        note!("\nstopping");
        thread::spawn(|| {
            thread::sleep(PATIENCE);
            end();
        });
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

/// As [`on_interrupt`], for a process that helps another one, which ends it and says so: the
/// training that they share stops on all in the same step.
pub fn quietly() -> anyhow::Result<StopFlag> {
    let flag = StopFlag::default();
    let handler = flag.clone();
    ctrlc::set_handler(move || {
        if handler.set() {
            end();
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

/// Ends the process without the destructors of the stage that is at work, nor those of libtorch,
/// whose threads still compute.
#[allow(unsafe_code)]
fn end() -> ! {
    note!("stopped; a run continues with --resume");
    // SAFETY: `_exit` takes any status, touches no memory of this process and does not return.
    unsafe { libc::_exit(i32::from(exit::STOPPED)) }
}
