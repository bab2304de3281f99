//! Unique names.

use std::collections::HashMap;
use std::sync::Arc;

/// The names in use and their indices. The table is derived from the graph, so that any two
/// compare equal. Copies share it until one of them changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Table>);

#[derive(Debug, Clone, Default)]
struct Table {
    taken: HashMap<String, u32>,
    next: HashMap<String, u32>,
}

impl PartialEq for Names {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Names {
    pub fn find(&self, name: &str) -> Option<u32> {
        self.0.taken.get(name).copied()
    }

    /// Reserves a name; returns false if it is in use.
    pub fn take(&mut self, name: &str, index: u32) -> bool {
        if self.0.taken.contains_key(name) {
            return false;
        }
        self.move_to(name, index);
        true
    }

    /// Sets the index of a name.
    pub fn move_to(&mut self, name: &str, index: u32) {
        let table = Arc::make_mut(&mut self.0);
        table.taken.insert(name.to_owned(), index);
    }

    /// Returns `base`, with a numbered suffix if it is in use. The name is not reserved.
    pub fn unused(&mut self, base: &str) -> String {
        if !self.0.taken.contains_key(base) {
            return base.to_owned();
        }
        let Table { taken, next } = Arc::make_mut(&mut self.0);
        let next = next.entry(base.to_owned()).or_insert(1);
        loop {
            let name = format!("{base}_{next}");
            *next += 1;
            if !taken.contains_key(&name) {
                return name;
            }
        }
    }
}
