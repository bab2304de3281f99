//! Which channels of the forms in `tests/peers/*_models.py` stay, with the
//! reason. The tests of exactness run what pruned networks of these forms compute.

use channels::analyse;
use graphprune_tests::made_model;
use onnx_graph::{NoExternalData, read};

/// The channels that can be dropped, and the reasons with the channels that each pins; those of
/// inputs and outputs are left out.
fn check(name: &str, prunable: usize, expected: &[(&str, usize)]) {
    let graph = read(&made_model(name), &NoExternalData).unwrap();
    let analysis = analyse(&graph).unwrap();
    let inner = |reason: &str| !reason.starts_with("channels of a graph");
    let pinned = analysis.pinned().iter().filter(|p| inner(&p.reason));
    let pinned: Vec<_> = pinned.map(|p| (p.reason.as_str(), p.channels)).collect();
    let units: usize = analysis.groups().iter().map(|g| g.channels).sum();
    assert_eq!((units, &pinned[..]), (prunable, expected), "{name}");
}

macro_rules! pinned {
    ($($name:ident $units:literal $expected:expr;)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), $units, &$expected);
        })*
    };
}

pinned! {
    a_recurrent_layer_behind_a_map_that_grows 28 [];
    kernels_of_two_sizes_in_one 22 [];
    resizes_of_stated_axes 44 [];
    sequences_in_sums_of_products 12 [];
    the_largest_of_several_features 22 [];
    groups_of_a_convolution_and_of_its_normalisation 23 [];
    a_table_of_positions_that_is_resized 22 [];
    channel_attention_by_a_convolution_over_channels 12 [];
    channels_that_attend_to_each_other 16 [];
    attentions_in_one_operator 48 [];
    context_of_all_positions_with_a_norm_of_trailing_ones 20 [("a product with channels on two axes", 1)];
    convolutions_at_computed_positions 19 [("channels that are read as positions", 54)];
    every_second_channel_by_slices 26 [];
    matrices_that_are_merged_by_computed_sizes 22 [];
    means_over_channels_by_pools_of_all_positions 28 [];
    operator_set_25 36 [];
    operators_that_the_runtime_fuses 30 [];
    patches_that_are_merged_with_the_batch 30 [];
    products_with_channels_on_two_axes 30 [
        ("operands with channels on two axes", 4),
        ("a softmax over the channels", 3),
    ];
    queries_of_a_decoder_and_chosen_tokens 42 [("the channel axis is squeezed away", 1)];
    queries_that_are_repeated_for_every_window 30 [];
    recurrent_layers_over_the_columns_of_a_map 45 [];
    statistics_of_groups_that_are_expanded_again 12 [];
    transposed_convolutions_in_groups 24 [];
    windows_that_slide_along_channels_and_rows 22 [("no layer with weights makes these channels", 4)];
}
