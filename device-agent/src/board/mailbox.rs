//! The firmware's commands. `device-agent/firmware/src/commands.rs` is the other side.

/// Words of a command: its number, the counter, then its arguments.
pub const COMMAND_WORDS: usize = 11;
/// Words of an answer: its status, then its results.
pub const ANSWER_WORDS: usize = 8;
/// The protocol that the firmware must speak.
pub const PROTOCOL: u32 = 2;
/// The most runs of one command.
pub const MOST_RUNS: u32 = ANSWER_WORDS as u32 - 1;

const FAULTED: u32 = 0x101;
const PANICKED: u32 = 0x102;

/// The counter that a command uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The DWT's cycle counter.
    Cycles,
    /// SysTick.
    SysTick,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Asks for the protocol, the processor and whether it claims to count cycles.
    Hello,
    /// Counts a loop.
    Pace {
        /// The counter.
        counter: Counter,
        /// Rounds of the loop, of two instructions.
        rounds: u32,
    },
    /// Lets a counter run on, for the agent to read.
    Count {
        /// The counter.
        counter: Counter,
    },
    /// Runs a plan.
    Run {
        /// The counter.
        counter: Counter,
        /// Address and length of the plan.
        plan: (u32, u32),
        /// Of the weights.
        weights: (u32, u32),
        /// Of the arena, which holds the input before and the output afterwards.
        arena: (u32, u32),
        /// Of the counts of the last run, a word for each operator.
        counts: (u32, u32),
        /// How often, at most [`MOST_RUNS`]. The answer has the ticks of each run.
        runs: u32,
    },
}

impl std::fmt::Display for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cycles => "DWT",
            Self::SysTick => "SysTick",
        })
    }
}

impl Counter {
    fn number(self) -> u32 {
        match self {
            Self::Cycles => 1,
            Self::SysTick => 2,
        }
    }
}

impl Command {
    /// Returns the command's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut words = [0; COMMAND_WORDS];
        match *self {
            Self::Hello => words[0] = 1,
            Self::Pace { counter, rounds } => {
                words[..3].copy_from_slice(&[2, counter.number(), rounds]);
            }
            Self::Count { counter } => words[..2].copy_from_slice(&[3, counter.number()]),
            Self::Run {
                counter,
                plan,
                weights,
                arena,
                counts,
                runs,
            } => {
                words[..2].copy_from_slice(&[4, counter.number()]);
                let parts = [plan, weights, arena, counts];
                for (to, (address, length)) in words[2..].chunks_exact_mut(2).zip(parts) {
                    to.copy_from_slice(&[address, length]);
                }
                words[COMMAND_WORDS - 1] = runs;
            }
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The results of a command that was carried out.
    Done([u32; ANSWER_WORDS - 1]),
    /// The core faulted, with this status.
    Faulted(u32),
    /// The firmware stopped at this line.
    Panicked(u32),
    /// The command was refused, for this reason.
    Refused(u32, u32),
}

impl Answer {
    /// Reads an answer.
    pub fn of(bytes: &[u8; 4 * ANSWER_WORDS]) -> Self {
        let mut words = [0; ANSWER_WORDS];
        for (word, four) in words.iter_mut().zip(bytes.chunks(4)) {
            *word = four
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        let [status, results @ ..] = words;
        match status {
            0 => Self::Done(results),
            FAULTED => Self::Faulted(results[0]),
            PANICKED => Self::Panicked(results[0]),
            reason => Self::Refused(reason, results[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_eleven_words_lowest_byte_first() {
        let command = Command::Run {
            counter: Counter::SysTick,
            plan: (0x0102_0304, 5),
            weights: (6, 7),
            arena: (8, 9),
            counts: (10, 11),
            runs: 3,
        };
        let bytes = command.bytes();
        assert_eq!(bytes.len(), 4 * COMMAND_WORDS);
        assert_eq!(bytes[..12], [4, 0, 0, 0, 2, 0, 0, 0, 4, 3, 2, 1]);
        assert_eq!(bytes[36..], [11, 0, 0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn an_answer_tells_results_from_faults() {
        let answer = |status: u32, first: u32| {
            let mut bytes = [0; 4 * ANSWER_WORDS];
            bytes[..4].copy_from_slice(&status.to_le_bytes());
            bytes[4..8].copy_from_slice(&first.to_le_bytes());
            Answer::of(&bytes)
        };
        assert_eq!(answer(0, 7), Answer::Done([7, 0, 0, 0, 0, 0, 0]));
        assert_eq!(answer(0x101, 7), Answer::Faulted(7));
        assert_eq!(answer(0x102, 7), Answer::Panicked(7));
        assert_eq!(answer(1, 7), Answer::Refused(1, 7));
    }
}
