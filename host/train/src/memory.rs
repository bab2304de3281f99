//! How many images fit into memory with the values of a network.

use onnx_graph::Graph;

/// The most bytes of the largest value of a network over all images.
const LARGEST_VALUE: usize = 256 << 20;
/// The most bytes of all values of a network that a backward pass holds.
const HELD_VALUES: usize = 1 << 30;
/// The most images of a batch for gradients: more do not run faster.
const LARGEST_BATCH: usize = 64;

/// The most inputs of an output whose products are held: half a gigabyte of doubles.
pub(crate) const MOST_FEATURES: i64 = 8192;

/// How many images pass through a network at once without taking too much memory; at least one.
pub(crate) fn images_in_memory(graph: &Graph) -> usize {
    let largest = value_sizes(graph).max().unwrap_or(1);
    (LARGEST_VALUE / size_of::<f32>() / largest.max(1)).max(1)
}

/// How many images a backward pass can take at once; at least one.
#[must_use]
pub fn images_of_a_backward_pass(graph: &Graph) -> usize {
    let held: usize = value_sizes(graph).sum();
    (HELD_VALUES / size_of::<f32>() / held.max(1)).clamp(1, LARGEST_BATCH)
}

/// Elements of each value of a network for one image, as far as its size is known.
fn value_sizes(graph: &Graph) -> impl Iterator<Item = usize> + '_ {
    graph.ids().filter_map(move |id| {
        let dims = graph.sample_shape(id)?;
        dims.iter().map(|dim| dim.known()).product()
    })
}

#[cfg(test)]
mod tests {
    use model_zoo::ZooConfig;

    use super::*;

    #[test]
    fn more_images_fit_with_a_smaller_network_and_at_least_one_with_any() {
        let network = |side| {
            let config = ZooConfig {
                input: [3, side, side],
                ..ZooConfig::default()
            };
            model_zoo::build("resnet18", &config).unwrap()
        };
        let (small, large) = (network(32), network(512));
        assert!(images_in_memory(&small) > 4 * images_in_memory(&large));
        assert_eq!(images_of_a_backward_pass(&small), LARGEST_BATCH);
        assert!((1..LARGEST_BATCH).contains(&images_of_a_backward_pass(&large)));
    }
}
