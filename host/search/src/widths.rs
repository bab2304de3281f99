//! Width configurations.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A width configuration: kept channels of every group, in the order of
/// [`Space::groups`](crate::Space::groups).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Widths(pub Vec<usize>);

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, width) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{width}")?;
        }
        f.write_str("]")
    }
}
