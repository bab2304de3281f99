//! The chip's own serial number, at the addresses that the profile states.

use probe_rs::{MemoryInterface as _, Session};

use super::BoardFault;
use super::link::core;

/// Reads a chip's serial number and returns it in hexadecimal digits, word by word. It is unknown,
/// `None`, where the chip has none in its memory, where that memory cannot be read, and where
/// nothing was ever written to it.
pub fn serial_number(
    session: &mut Session,
    addresses: &[u32],
) -> Result<Option<String>, BoardFault> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let mut core = core(session, "reading the chip's serial number")?;
    let words = addresses.iter();
    let words: Option<Vec<u32>> = words
        .map(|address| core.read_word_32(u64::from(*address)).ok())
        .collect();
    Ok(words.and_then(|words| digits(&words)))
}

fn digits(words: &[u32]) -> Option<String> {
    let is_blank = [0, u32::MAX]
        .iter()
        .any(|blank| words.iter().all(|word| word == blank));
    let words: Vec<String> = words.iter().map(|word| format!("{word:08x}")).collect();
    (!is_blank).then(|| words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn a_serial_number_is_its_words_unless_it_is_blank() {
        for (words, expected) in [
            (
                &[0x27_003d, 0x3132_470f, 1][..],
                Some("0027003d-3132470f-00000001"),
            ),
            (&[0, 5], Some("00000000-00000005")),
            (&[0, 0], None),
            (&[u32::MAX; 3], None),
        ] {
            assert_eq!(digits(words).as_deref(), expected, "{words:x?}");
        }
    }
}
