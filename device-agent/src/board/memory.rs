//! What a chip's memory costs its core: evidence of a measurement.

use agent_protocol::RegisterField;
use probe_rs::{MemoryInterface as _, Session};

use super::BoardFault;
use super::link::{core, lost};

/// Configuration and control, with a bit for either cache (Armv7-M Architecture Reference Manual,
/// B3.2.8; reserved on cores without caches).
const CCR: u64 = 0xe000_ed14;
const CCR_DC: u32 = 1 << 16;
const CCR_IC: u32 = 1 << 17;

/// Says which of the core's caches are on, and how many wait states the flash has where the profile
/// has their field. A chip's own cache, of its flash, is part of the clock's steps.
pub fn in_words(
    session: &mut Session,
    wait_states: Option<RegisterField>,
) -> Result<Vec<String>, BoardFault> {
    const DOING: &str = "reading what the core offers";
    let mut core = core(session, DOING)?;
    let mut read = |register: u64| {
        core.read_word_32(register)
            .map_err(|error| lost(DOING, &error))
    };
    let control = read(CCR)?;
    let state = |bit| if control & bit != 0 { "on" } else { "off" };
    let mut all = vec![format!(
        "the core's instruction cache is {}, its data cache {}",
        state(CCR_IC),
        state(CCR_DC)
    )];
    if let Some(field) = wait_states {
        let value = read(field.address.into())?;
        all.push(format!("the flash has {} wait states", field.of(value)));
    }
    Ok(all)
}
