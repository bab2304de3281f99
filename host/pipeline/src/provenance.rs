//! Where a network comes from, in the metadata of its file.

use measuring::MeasuredRatio;
use onnx_graph::{Graph, GraphError, with_metadata};

/// The beginning of the keys.
const PREFIX: &str = "graphprune.";

/// What a file says of its origin, by keys without their prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Provenance {
    entries: Vec<(String, String)>,
}

impl Provenance {
    /// The origin of a network that was cut from the file `model` with this SHA-256.
    pub fn new(model: &str, sha256: &str) -> Self {
        Self::default()
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("original", model)
            .with("original_sha256", sha256)
    }

    /// Adds an entry.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.entries.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a latency over that of the original.
    pub fn with_ratio(self, measured: &MeasuredRatio) -> Self {
        let ratio = measured.ratio;
        self.with(
            "latency_ratio",
            format!("{:.4} ({:.4} to {:.4})", ratio.value, ratio.low, ratio.high),
        )
    }

    /// Adds a latency.
    pub fn with_latency(self, measured: &MeasuredRatio) -> Self {
        self.with("latency_ms", format!("{:.6}", measured.latency_ns / 1e6))
    }

    /// The file of a network with these entries, in place of those that it has.
    pub fn stamp(&self, onnx: &[u8]) -> Result<Vec<u8>, GraphError> {
        with_metadata(onnx, PREFIX, &self.entries)
    }
}

/// The entries of a file, without their prefix.
pub(crate) fn provenance(graph: &Graph) -> Vec<(String, String)> {
    let own = |(key, value): (&str, &str)| {
        let key = key.strip_prefix(PREFIX)?;
        Some((key.to_owned(), value.to_owned()))
    };
    graph.metadata().filter_map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_where_it_comes_from_and_computes_what_it_did() {
        let config = model_zoo::ZooConfig::default();
        let graph = model_zoo::build("shapes_net", &config).unwrap();
        let onnx = onnx_graph::write(&graph).unwrap();
        let read = |bytes: &[u8]| onnx_graph::read(bytes, &onnx_graph::NoExternalData).unwrap();
        assert_eq!(provenance(&read(&onnx)), []);
        let first = Provenance::new("net", "abc").with("device", "pi");
        let second = Provenance::new("net", "def");
        let twice = second.stamp(&first.stamp(&onnx).unwrap()).unwrap();
        let stamped = read(&twice);
        let held = provenance(&stamped);
        let sha256 = held.iter().filter(|(key, _)| key == "original_sha256");
        let sha256: Vec<&str> = sha256.map(|(_, value)| value.as_str()).collect();
        assert_eq!(sha256, ["def"]);
        assert!(held.iter().all(|(key, _)| key != "device"), "{held:?}");
        assert_eq!(stamped.same_network(&graph), Ok(()));
    }
}
