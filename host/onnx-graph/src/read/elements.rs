//! What is known of the sequences of a file while it is read.

use std::collections::{HashMap, HashSet};

use crate::proto::NodeProto;

/// The sequences of a file.
#[derive(Default)]
pub(super) struct Sequences {
    /// Names of the elements, by the name of the sequence.
    pub elements: HashMap<String, Vec<String>>,
    /// The nodes that make sequences, as long as nothing needs the sequence itself.
    pub waiting: HashMap<String, (NodeProto, i64)>,
    /// Sequences that a node needs as such.
    pub needed: HashSet<String>,
}

impl Sequences {
    /// Whether `name` is a sequence or an optional value whose elements are known.
    pub fn names(&self, name: &str) -> bool {
        self.elements.contains_key(name)
    }
}
