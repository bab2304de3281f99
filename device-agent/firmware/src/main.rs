//! The firmware of a bare-metal board: takes commands from the agent over RTT, runs a network's
//! plan and counts the cycles of each operator.
//!
//! One binary serves every chip of a core family. It touches no peripheral but the core's own
//! counters, so the clock and the wait states of the flash are set by the agent, over the probe.
//! It never sleeps: a probe loses a core that does.
//!
//! Invariants: no initialised data; interrupts stay off, except that of SysTick where it counts.

#![no_std]
#![no_main]

mod commands;
mod counter;
mod fault;
mod rtt;
mod start;

/// Serves commands; never returns.
fn main() -> ! {
    let channel = rtt::Channel::open();
    loop {
        let frame = channel.receive();
        let answer = commands::answer(&frame);
        channel.send(&answer);
    }
}
