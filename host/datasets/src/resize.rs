//! The size that images are scaled to, as a user writes it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DataError;

/// How the sides of an image are scaled before the centre is cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Resize {
    /// The shorter side to so many pixels; the side ratio stays.
    ShortSide(u32),
    /// To this height and width.
    Exact(u32, u32),
}

/// A size in a file.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "the pixels of the shorter side such as 256, or height x width such as \"256x320\""
)]
enum Written {
    Side(u32),
    Text(String),
}

impl TryFrom<Written> for Resize {
    type Error = DataError;

    fn try_from(written: Written) -> Result<Self, DataError> {
        match written {
            Written::Side(side) => side.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Resize> for Written {
    fn from(resize: Resize) -> Self {
        match resize {
            Resize::ShortSide(side) => Self::Side(side),
            Resize::Exact(height, width) => Self::Text(format!("{height}x{width}")),
        }
    }
}

impl FromStr for Resize {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let sides: Result<Vec<u32>, _> = text.split('x').map(|side| side.trim().parse()).collect();
        match sides.as_deref() {
            Ok(&[side]) if (1..=LARGEST).contains(&side) => Ok(Self::ShortSide(side)),
            Ok(&[height, width])
                if (1..=LARGEST).contains(&height) && (1..=LARGEST).contains(&width) =>
            {
                Ok(Self::Exact(height, width))
            }
            _ => Err(DataError::option(
                "resize",
                format!(
                    "'{text}' is neither the pixels of the shorter side, such as 256, nor height x width, such as 256x320 (1 to \
                     {LARGEST})"
                ),
            )),
        }
    }
}

/// Most pixels of a side that an image is scaled to.
const LARGEST: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_that_of_the_shorter_side_or_height_and_width() {
        let read = |text: &str| text.parse::<Resize>();
        assert_eq!(read("256").unwrap(), Resize::ShortSide(256));
        assert_eq!(read("256x320").unwrap(), Resize::Exact(256, 320));
        for refused in ["", "0", "256x", "3x4x5", "256x0", "-3", "99999999"] {
            let error = read(refused).unwrap_err().to_string();
            assert!(error.contains("shorter side"), "{error}");
        }
        for resize in [Resize::ShortSide(256), Resize::Exact(256, 320)] {
            let json = serde_json::to_string(&resize).unwrap();
            assert_eq!(serde_json::from_str::<Resize>(&json).unwrap(), resize);
        }
    }
}
