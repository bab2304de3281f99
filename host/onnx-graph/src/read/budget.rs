//! The limit on constants that are computed while a model is read.

/// How often the elements of a file may be computed anew; standardising a weight takes about
/// eight steps.
const STEPS: usize = 32;

/// Elements that may be computed beyond those of the file, so that a small file cannot take much
/// memory.
const SPARE: usize = 1 << 22;

/// Lists as short as shapes are always computed: they cost no more than the nodes that compute
/// them.
const SHORT: usize = 128;

/// Elements that may still be computed from constants.
pub(super) struct Budget {
    /// Elements that computed constants may still hold.
    memory: usize,
    /// Elements that may still be computed, whether they are held or not.
    steps: usize,
}

impl Budget {
    pub fn new() -> Self {
        Self {
            memory: SPARE,
            steps: SPARE * STEPS,
        }
    }

    /// Adds the allowance for a constant of the file.
    pub fn grant(&mut self, elements: usize) {
        self.memory = self.memory.saturating_add(elements);
        self.steps = self.steps.saturating_add(elements.saturating_mul(STEPS));
    }

    /// Charges a computed constant.
    pub fn charge(&mut self, elements: usize) {
        self.memory = self.memory.saturating_sub(elements);
        self.steps = self.steps.saturating_sub(elements);
    }

    /// Returns the memory of a constant that is dropped.
    pub fn release(&mut self, elements: usize) {
        self.memory = self.memory.saturating_add(elements);
    }

    /// Most elements of the next result.
    pub fn limit(&self) -> usize {
        self.memory.min(self.steps).max(SHORT)
    }
}
