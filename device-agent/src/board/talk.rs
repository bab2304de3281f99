//! Commands to a running firmware, and its answers.

use std::time::{Duration, Instant};

use probe_rs::Core;
use probe_rs::rtt::Rtt;

use super::BoardFault;
use super::link::check_running;
use super::mailbox::{ANSWER_WORDS, Answer, Command};
use super::probe::chain;

/// The pauses before the looks for an answer: each is an access to the board's memory, for which
/// some probes halt the core. They grow as long as there is none.
const PAUSES: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(4)];
/// The pause from which on each look asks whether the core still runs, too. One that stops says so
/// itself, unless it is locked up.
const SUSPICIOUS: Duration = Duration::from_millis(2);

/// The core of a session, and the channels of the firmware that it runs. To open a core takes as
/// many accesses as a command and its answer.
pub struct Talk<'a> {
    /// The core.
    pub core: Core<'a>,
    /// The channels.
    pub rtt: &'a mut Rtt,
    /// What the commands are for.
    pub doing: &'static str,
}

impl Talk<'_> {
    /// Sends a command and waits for its answer.
    pub fn ask(
        &mut self,
        command: Command,
        within: Duration,
    ) -> Result<[u32; ANSWER_WORDS - 1], BoardFault> {
        let doing = self.doing;
        let rtt_lost = |error: probe_rs::rtt::Error| BoardFault::Lost {
            doing,
            detail: chain(&error),
        };
        let begun = Instant::now();
        let bytes = command.bytes();
        let mut sent = 0;
        let mut answer = [0; 4 * ANSWER_WORDS];
        let mut got = 0;
        let [mut pause, longest] = PAUSES;
        loop {
            if sent < bytes.len() {
                let down = self.rtt.down_channel(0);
                let down = down.ok_or_else(|| no_channel(doing))?;
                sent += down
                    .write(&mut self.core, &bytes[sent..])
                    .map_err(rtt_lost)?;
            }
            if sent == bytes.len() {
                std::thread::sleep(pause);
                pause = (2 * pause).min(longest);
            }
            let up = self.rtt.up_channel(0).ok_or_else(|| no_channel(doing))?;
            got += up
                .read(&mut self.core, &mut answer[got..])
                .map_err(rtt_lost)?;
            if got == answer.len() {
                return understood(Answer::of(&answer), doing);
            }
            if sent < bytes.len() || pause >= SUSPICIOUS {
                check_running(&mut self.core, doing)?;
            }
            if begun.elapsed() > within {
                return Err(BoardFault::Silent { doing, within });
            }
        }
    }
}

fn no_channel(doing: &'static str) -> BoardFault {
    BoardFault::Lost {
        doing,
        detail: "the firmware's block has no channel".into(),
    }
}

fn understood(answer: Answer, doing: &'static str) -> Result<[u32; ANSWER_WORDS - 1], BoardFault> {
    match answer {
        Answer::Done(results) => Ok(results),
        Answer::Faulted(status) => Err(BoardFault::Faulted { doing, status }),
        Answer::Panicked(line) => Err(BoardFault::Refused {
            doing,
            detail: format!("it stopped at line {line}"),
        }),
        Answer::Refused(reason, _) => Err(BoardFault::Refused {
            doing,
            detail: format!("reason {reason}"),
        }),
    }
}
