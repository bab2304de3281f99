//! Reading, writing, folding, pruning and executing a network preserve its outputs, for every
//! available model, with ONNX Runtime in a process of its own as the reference.

use std::collections::BTreeMap;

use channels::{Analysis, Cut, PrunePlan, analyse, apply, cut, mask};
use graphprune_tests::{
    Array, Difference, Ort, array, difference, execute, made_model, made_names, random_plan,
    randomise_norms, shared_model, tensor,
};
use model_zoo::{Layout, ZooConfig};
use onnx_graph::cost::costs;
use onnx_graph::ops::{Add, Op, Opaque};
use onnx_graph::{
    Attribute, AttributeValue, DType, Dim, Graph, NoExternalData, Tensor, fold_batch_norm,
    insert_batch_norm, read, write,
};
use torch_exec::{Device, NormMode, Params, Program, calibrate_inserted_norms};

/// Largest difference allowed, relative to the spread of the output.
const TOLERANCE: f64 = 1e-4;
/// The same for networks of 16-bit floats, whose elements have 11 bits.
const HALF_TOLERANCE: f64 = 1e-2;

/// How far a model is supported. The rest must be refused with an error, never computed
/// incorrectly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Read, pruned, executed.
    Executed,
    /// Read and pruned; the executor lacks an operator.
    Pruned,
    /// Refused on reading or on writing.
    Refused,
}

/// A trained model of the shared folder; `range` is that of its pixels.
fn check_shared(file: &str, range: [f32; 2]) {
    if let Some(bytes) = shared_model(file) {
        check(file, &bytes, range, Reach::Executed);
    }
}

/// A network of the zoo, its BatchNorm parameters as after training.
fn check_zoo(name: &str, config: &ZooConfig) {
    let mut graph = model_zoo::build(name, config).unwrap();
    randomise_norms(&mut graph, 5);
    check(name, &write(&graph).unwrap(), PIXELS, Reach::Executed);
}

fn check_made(name: &str, reach: Reach) {
    let range = match name {
        "an_input_of_bytes" | "an_input_of_numbers" | "words_and_their_positions" => BYTES,
        _ => PIXELS,
    };
    let bytes = made_model(name);
    if reach == Reach::Refused {
        let written = read(&bytes, &NoExternalData).and_then(|graph| write(&graph));
        println!(
            "{name}: {}",
            written.expect_err("the list says that this model is refused")
        );
        return;
    }
    check(name, &bytes, range, reach);
}

fn check(name: &str, bytes: &[u8], range: [f32; 2], reach: Reach) {
    let graph = read(bytes, &NoExternalData).unwrap();
    let feeds = feeds(&graph, range);
    let original = Ort::shared().run(bytes, false, &feeds).unwrap();
    let folded = fold_batch_norm(&graph).unwrap();
    let (mut normed, inserted) = insert_batch_norm(&folded).unwrap();
    let mut variants = vec![("kept", &graph)];
    if folded.nodes().len() != graph.nodes().len() {
        variants.push(("folded", &folded));
    }
    if !inserted.is_empty() {
        if reach == Reach::Executed {
            calibrate_inserted_norms(&mut normed, &inserted, feeds.iter().map(tensor)).unwrap();
        }
        variants.push(("inserted", &normed));
    }
    for (variant, graph) in variants {
        let case = Case {
            name: format!("{name}, BatchNorm {variant}"),
            tolerance: match graph.value(graph.inputs()[0]).dtype {
                Some(DType::F16) => HALF_TOLERANCE,
                _ => TOLERANCE,
            },
            feeds: &feeds,
        };
        let written = case.written(graph, &original);
        let analysis = analyse(graph).unwrap();
        case.full_plan(graph, &analysis);
        let (pruned, cut) = case.pruned(graph, &analysis, reach);
        let executed = case.executed(graph, &original, reach);
        let groups = analysis.groups().len();
        println!(
            "{}: {groups} groups; written {written:.1e}, pruned {pruned:.1e}, executed {executed:.1e}, cut {cut:.1e}",
            case.name
        );
    }
}

/// One image and three, or one alone where the model has a fixed batch.
fn feeds(graph: &Graph, range: [f32; 2]) -> Vec<Array> {
    let shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    let batches = shape[0].known().map_or(vec![1, 3], |n| vec![n]);
    // An open size may be any.
    let size = |dim: &Dim| dim.known().unwrap_or(16);
    let image: Vec<usize> = shape[1..].iter().map(size).collect();
    let shapes = batches
        .into_iter()
        .map(|n| [&[n], image.as_slice()].concat());
    shapes
        .enumerate()
        .map(|(seed, shape)| Array::uniform(&shape, range[0], range[1], seed as u64))
        .collect()
}

/// Outputs of one run for each of the feeds.
type Runs = Vec<Vec<Array>>;

struct Case<'a> {
    name: String,
    tolerance: f64,
    feeds: &'a [Array],
}

/// Each method returns the largest relative difference.
impl Case<'_> {
    /// Returns the outputs of the written model in ONNX Runtime. It must pass ONNX's checker
    /// when `check` is set.
    fn outputs(&self, graph: &Graph, check: bool, what: &str) -> Runs {
        let bytes = write(graph).unwrap();
        Ort::shared()
            .run(&bytes, check, self.feeds)
            .unwrap_or_else(|e| panic!("{}, {what}: {e}", self.name))
    }

    fn compare(&self, what: &str, got: &Runs, reference: &Runs) -> f64 {
        assert_eq!(got.len(), reference.len(), "{}, {what}: runs", self.name);
        let mut worst = 0.0f64;
        for (got, reference) in got.iter().zip(reference) {
            assert_eq!(got.len(), reference.len(), "{}, {what}: outputs", self.name);
            for (got, reference) in got.iter().zip(reference) {
                let apart: Difference = difference(got, reference);
                let shapes = (&got.shape, &reference.shape);
                assert!(
                    apart.relative <= self.tolerance,
                    "{}, {what}: {apart}, shapes {shapes:?}",
                    self.name
                );
                worst = worst.max(apart.relative);
            }
        }
        worst
    }

    /// Writing and reading is the identity, and the written model has the original's outputs.
    fn written(&self, graph: &Graph, original: &Runs) -> f64 {
        let bytes = write(graph).unwrap();
        let again = read(&bytes, &NoExternalData)
            .unwrap_or_else(|e| panic!("{}, read again: {e}", self.name));
        graph
            .same_network(&again)
            .unwrap_or_else(|e| panic!("{}, read again: {e}", self.name));
        assert!(
            write(&again).unwrap() == bytes,
            "{}: written again, the bytes differ",
            self.name
        );
        self.compare("written", &self.outputs(graph, true, "written"), original)
    }

    /// A plan that keeps everything cuts nothing and gives the same network.
    fn full_plan(&self, graph: &Graph, analysis: &Analysis) {
        let cut = cut(graph, analysis, &PrunePlan::full(analysis)).unwrap();
        assert!(cut.crops.is_empty(), "{}: the full plan crops", self.name);
        let (whole, before) = (apply(graph, &cut).unwrap(), costs(graph));
        assert_eq!(
            costs(&whole).macs,
            before.macs,
            "{}: the full plan changes the work",
            self.name
        );
    }

    /// The pruned network has the outputs of the original with the dropped channels masked, and
    /// costs less. So does the executor when it cuts the channels while it runs.
    fn pruned(&self, graph: &Graph, analysis: &Analysis, reach: Reach) -> (f64, f64) {
        let (mut worst_pruned, mut worst_cut) = (0.0f64, 0.0f64);
        if analysis.groups().is_empty() {
            println!("{}: nothing to prune: {:?}", self.name, analysis.pinned());
            return (worst_pruned, worst_cut);
        }
        for seed in 0..3 {
            // The last one empties half of the removable groups.
            let remove = if seed == 2 { 0.5 } else { 0.0 };
            let plan = random_plan(analysis, seed, 0.3..=0.7, remove);
            let cut = cut(graph, analysis, &plan).unwrap();
            let small =
                apply(graph, &cut).unwrap_or_else(|e| panic!("{}, plan {seed}: {e}", self.name));
            // The masked network is only a reference and need not pass the checker.
            let reference = self.outputs(&mask(graph, analysis, &plan).unwrap(), false, "masked");
            worst_pruned = worst_pruned.max(self.written(&small, &reference));
            self.cheaper(graph, &small);
            if reach == Reach::Executed {
                let what = format!("cut by plan {seed} while running");
                let got = self.run(graph, Some(&cut), &what);
                worst_cut = worst_cut.max(self.compare(&what, &got, &first_outputs(&reference)));
            }
        }
        (worst_pruned, worst_cut)
    }

    /// A pruned network has fewer parameters, and no node costs more than before.
    fn cheaper(&self, graph: &Graph, small: &Graph) {
        let (before, after) = (costs(graph), costs(small));
        assert!(
            after.parameters < before.parameters,
            "{}: parameters",
            self.name
        );
        assert!(after.macs < before.macs, "{}: multiplications", self.name);
        assert!(
            after.activation_bytes <= before.activation_bytes,
            "{}: activations",
            self.name
        );
        let name = |graph: &Graph, node| graph.node(node).name.clone();
        let own: BTreeMap<_, _> = before
            .nodes
            .iter()
            .map(|n| (name(graph, n.node), n))
            .collect();
        for after in &after.nodes {
            let name = name(small, after.node);
            // A cut adds nodes that put zeros back where channels were.
            let (macs, parameters) = own.get(&name).map_or((0, 0), |b| (b.macs, b.parameters));
            let cheaper = after.macs <= macs && after.parameters <= parameters;
            assert!(cheaper, "{}: '{name}' costs more than before", self.name);
        }
        assert_eq!(
            after.macs,
            after.nodes.iter().map(|n| n.macs).sum::<u64>(),
            "{}: sum",
            self.name
        );
    }

    /// The executor agrees with ONNX Runtime.
    fn executed(&self, graph: &Graph, original: &Runs, reach: Reach) -> f64 {
        if reach == Reach::Pruned {
            assert!(
                Program::compile(graph).is_err(),
                "{}: the executor runs this; say so in the list",
                self.name
            );
            return 0.0;
        }
        self.compare(
            "executed",
            &self.run(graph, None, "executed"),
            &first_outputs(original),
        )
    }

    /// Returns the executor's first outputs.
    fn run(&self, graph: &Graph, cut: Option<&Cut>, what: &str) -> Runs {
        let program =
            Program::compile(graph).unwrap_or_else(|e| panic!("{}, {what}: {e}", self.name));
        let params = Params::from_graph(graph, Device::Cpu).unwrap();
        let run = |feed| {
            let out = program.forward(&tensor(feed), &params, cut, NormMode::Running);
            vec![array(
                &out.unwrap_or_else(|e| panic!("{}, {what}: {e}", self.name)),
            )]
        };
        self.feeds.iter().map(run).collect()
    }
}

fn first_outputs(runs: &Runs) -> Runs {
    runs.iter()
        .map(|outputs| vec![outputs[0].clone()])
        .collect()
}

/// One test per line, so a failing model's name is the test's.
macro_rules! models {
    ($check:ident: $($(#[$attribute:meta])* $name:ident($($argument:expr),*);)*) => {
        $($(#[$attribute])* #[test] fn $name() { $check($($argument),*); })*
    };
}

const PIXELS: [f32; 2] = [-2.0, 2.0];
const BYTES: [f32; 2] = [0.0, 255.0];

models! { check_shared:
    trained_resnet20("cifar10_resnet20.onnx", PIXELS);
    trained_resnet20_with_batch_norm("cifar10_resnet20_bn.onnx", PIXELS);
    trained_resnet56("cifar10_resnet56.onnx", PIXELS);
    trained_resnet56_with_batch_norm("cifar10_resnet56_bn.onnx", PIXELS);
    trained_mlperf_tiny_resnet8("mlperf_tiny_cifar10_resnet8.onnx", BYTES);
    trained_mlperf_tiny_mobilenet("mlperf_tiny_vww_mobilenetv1_025_96.onnx", [0.0, 1.0]);
    trained_mnist_of_operator_set_8("mnist.onnx", BYTES);
}

fn cifar() -> ZooConfig {
    ZooConfig::default()
}

/// The layout for large images on an image small enough for a test.
fn large(side: usize, width_mult: f64) -> ZooConfig {
    ZooConfig {
        classes: 20,
        input: [3, side, side],
        width_mult,
        layout: Layout::Large,
        ..ZooConfig::default()
    }
}

models! { check_zoo:
    zoo_shapes_net("shapes_net", &cifar());
    zoo_resnet20("resnet20", &cifar());
    zoo_resnet32("resnet32", &cifar());
    zoo_resnet56("resnet56", &cifar());
    zoo_resnet18_for_small_images("resnet18", &ZooConfig { width_mult: 0.5, ..cifar() });
    zoo_resnet18("resnet18", &large(64, 1.0));
    zoo_resnet50("resnet50", &large(64, 1.0));
    zoo_mobilenet_v1_for_small_images("mobilenet_v1", &ZooConfig { width_mult: 0.5, ..cifar() });
    zoo_mobilenet_v1("mobilenet_v1", &large(64, 1.0));
    zoo_mobilenet_v2_for_small_images("mobilenet_v2", &cifar());
    zoo_mobilenet_v2("mobilenet_v2", &large(96, 1.0));
    zoo_vgg16_bn_for_small_images("vgg16_bn", &ZooConfig { input: [3, 64, 64], width_mult: 0.5, ..cifar() });
    zoo_vgg16_bn("vgg16_bn", &large(96, 0.25));
}

/// The models of `tests/peers/make_models.py`.
macro_rules! made {
    ($($name:ident $reach:ident;)*) => {
        models! { check_made: $($name(stringify!($name), Reach::$reach);)* }

        #[test]
        fn every_made_model_is_in_the_list() {
            let mut listed = vec![$(stringify!($name)),*];
            listed.sort_unstable();
            assert_eq!(made_names(), listed);
        }
    };
}

made! {
    a_branch_with_a_subgraph Pruned;
    a_branch_within_a_branch_that_is_known Executed;
    a_constant_that_is_also_an_output Executed;
    a_function_with_a_branch Pruned;
    a_local_response_normalisation_alone Executed;
    a_loop_that_reads_values_around_it Pruned;
    a_network_of_16_bit_floats Pruned;
    a_recurrent_layer_behind_a_map_that_grows Pruned;
    a_recurrent_layer_of_long_memory Pruned;
    a_recurrent_layer_with_gates Pruned;
    a_table_of_positions_that_is_resized Pruned;
    a_table_that_is_read_transposed_as_well Executed;
    activations_of_another_domain Executed;
    activations_that_do_not_map_zero_to_zero Executed;
    activations_that_saturate_below Executed;
    activations_with_slopes Executed;
    an_image_that_is_sampled_on_a_grid Executed;
    an_input_of_bytes Pruned;
    an_input_of_numbers Executed;
    an_open_image_beside_a_table_of_positions Pruned;
    an_open_image_that_is_padded_to_a_multiple Pruned;
    an_operator_of_another_domain Pruned;
    an_output_in_the_middle_of_a_chain Executed;
    asymmetric_pads_and_dilations Executed;
    attention_by_the_extrema_over_channels Executed;
    attention_of_channels_and_then_of_positions Executed;
    attentions_in_one_operator Executed;
    attentions_that_hide_keys Executed;
    attentions_that_the_runtime_fuses Executed;
    auto_pad_same_lower Executed;
    auto_pad_same_upper Executed;
    auto_pad_valid Executed;
    batch_norm_before_any_convolution Executed;
    blocks_of_a_linear_layer_as_an_image Executed;
    boxes_that_are_suppressed Pruned;
    channel_attention_by_a_convolution_over_channels Executed;
    channel_padding_with_a_value Executed;
    channel_shuffle Executed;
    channel_slices_added Executed;
    channels_last_before_the_flatten Executed;
    channels_reversed_by_a_slice Executed;
    channels_that_are_picked_by_number Executed;
    channels_that_are_tiled Executed;
    channels_that_attend_to_each_other Executed;
    channels_that_become_positions_and_back Executed;
    concat_of_rows_and_of_columns Executed;
    context_of_all_positions_with_a_norm_of_trailing_ones Executed;
    convnext_block_in_channels_last Executed;
    convolutions_at_computed_positions Pruned;
    convolutions_of_integers_in_groups Pruned;
    dense_blocks_with_batch_norm_after_concat Executed;
    depthwise_convolution_with_a_multiplier Executed;
    depthwise_convolutions Executed;
    dropout_with_ratio_and_unused_mask Executed;
    elements_that_are_chosen_by_a_mask_per_channel Executed;
    elements_that_are_compared_and_chosen Executed;
    equal_initializers_shared_through_identity Executed;
    every_second_channel_by_slices Executed;
    extrema_by_number Executed;
    flatten_by_negative_axis_then_scaled_gemm Executed;
    flatten_by_reshape Executed;
    flatten_by_shape_arithmetic Executed;
    flatten_of_a_map Executed;
    flatten_with_the_batch_written_into_the_reshape Executed;
    frozen_batch_norm_as_mul_and_add Executed;
    fully_linear_network Executed;
    functions_of_another_operator_set Executed;
    functions_of_single_elements Executed;
    functions_that_call_functions Executed;
    gelu_written_out_with_erf Executed;
    gemm_without_bias_then_batch_norm Executed;
    grouped_convolution_in_a_residual_block Executed;
    grouped_convolution_that_changes_width Executed;
    groups_of_a_convolution_and_of_its_normalisation Executed;
    groups_of_an_open_image Executed;
    heads_of_queries_that_share_keys Executed;
    instance_norm_and_local_response_norm Executed;
    integers_of_16_bits Pruned;
    joins_of_any_number_of_operands Executed;
    kernels_of_two_sizes_in_one Executed;
    largest_positions Pruned;
    layer_norm_over_positions_and_over_whole_images Executed;
    layer_norm_over_the_channels Executed;
    layers_of_integers_whose_scales_are_found Pruned;
    lists_of_sizes_that_layers_share Executed;
    lists_of_values Executed;
    matmul_and_add_as_a_linear_layer Executed;
    matrices_on_the_left Executed;
    matrices_that_are_merged_by_computed_sizes Executed;
    means_over_channels_by_pools_of_all_positions Executed;
    nodes_without_names Executed;
    normalisations_by_the_root_mean_square Executed;
    norms_over_channels_and_over_positions Executed;
    one_dimensional_convolutions Executed;
    one_weight_read_by_two_convolutions Executed;
    operator_set_11 Executed;
    operator_set_21 Executed;
    operator_set_25 Executed;
    operator_set_7_with_spatial_batch_norm Executed;
    operator_set_9 Executed;
    operators_that_the_runtime_fuses Pruned;
    optional_inputs_left_out Executed;
    padding_of_edges Executed;
    patches_of_an_open_image Pruned;
    patches_that_are_merged_with_the_batch Executed;
    pooling_of_a_non_square_window Executed;
    pooling_with_ceil_mode_and_counted_pads Executed;
    pools_by_norms Executed;
    positions_by_number_for_each_channel Executed;
    positions_that_the_runtime_turns Pruned;
    positions_that_turn_pairs Pruned;
    product_and_difference_of_branches Executed;
    products_with_channels_on_two_axes Executed;
    queries_of_a_decoder_and_chosen_tokens Pruned;
    queries_that_are_repeated_for_every_window Executed;
    recurrent_layers_of_which_the_last_states_are_read Pruned;
    recurrent_layers_over_the_columns_of_a_map Pruned;
    reduce_mean_axes_as_attribute Executed;
    reduce_mean_axes_as_input Executed;
    reduce_mean_over_channels Executed;
    reductions_over_positions Executed;
    reductions_whose_zeros_matter Executed;
    resize_by_fractions Executed;
    resize_by_nearest_neighbours_into_a_pyramid Executed;
    resize_in_the_middle Executed;
    resize_to_computed_sizes_of_an_open_image Pruned;
    resize_to_sizes_out_of_shapes Executed;
    resizes_of_stated_axes Pruned;
    rows_and_columns_of_an_open_image Pruned;
    rows_that_are_replaced Pruned;
    selective_kernels_of_two_branches Executed;
    sequences_in_sums_of_products Executed;
    several_outputs Executed;
    softmax_of_operator_set_11_over_all_later_axes Pruned;
    softmax_over_channels_in_the_middle Executed;
    spatial_attention_broadcast_over_channels Executed;
    split_and_concat Executed;
    split_by_number_of_outputs Executed;
    squeeze_and_excitation Executed;
    squeeze_and_excitation_by_linear_layers Executed;
    statistics_of_groups_that_are_expanded_again Executed;
    sum_with_a_pooled_branch Executed;
    sums_that_run_over_positions_and_over_channels Executed;
    the_largest_of_several_features Executed;
    the_same_value_twice_in_a_concat Executed;
    tokens_mixed_behind_and_before_the_channels Executed;
    transposed_convolution_with_auto_pad Executed;
    transposed_convolutions Executed;
    transposed_convolutions_by_the_size_of_their_output Executed;
    transposed_convolutions_in_groups Executed;
    triangles_of_positions Executed;
    weights_in_constant_nodes Executed;
    weights_of_four_and_eight_bits Pruned;
    windows_of_an_open_image Pruned;
    windows_that_slide_along_channels_and_rows Executed;
    words_and_their_positions Executed;
    zeros_of_a_computed_shape_beside_the_channels Executed;
}

/// A Resize to `to`, given as a list of sizes, whose result meets an input of that size: both
/// must agree on it.
fn by_sizes(from: usize, to: [usize; 2], coordinates: &str, rounding: &str) -> Vec<u8> {
    let text = |name: &str, value: &str| Attribute {
        name: name.into(),
        value: AttributeValue::Text(value.into()),
    };
    let mut graph = Graph::new("resize", 13);
    let shape = [2, 3, from, from].map(Dim::Known);
    let x = graph.add_input("x", DType::F32, shape.to_vec());
    let sizes = [2, 3, to[0] as i64, to[1] as i64];
    let sizes = graph.add_constant("sizes", Tensor::i64s(sizes.to_vec()));
    let resize = Op::Opaque(Opaque {
        op_type: "Resize".into(),
        attributes: vec![
            text("mode", "nearest"),
            text("nearest_mode", rounding),
            text("coordinate_transformation_mode", coordinates),
        ],
        ..Opaque::default()
    });
    let inputs = vec![Some(x), None, None, Some(sizes)];
    let y = graph
        .push_node("resize", resize, inputs, &[Some("y")])
        .unwrap()[0]
        .unwrap();
    let offset = Tensor::f32([1, 1, to[0], to[1]], vec![0.25; to[0] * to[1]]).unwrap();
    let offset = graph.add_constant("offset", offset);
    let y = graph.push("add", Add.into(), &[y, offset]).unwrap();
    graph.add_output(y);
    write(&graph).unwrap()
}

#[test]
fn a_resize_by_sizes_takes_the_same_neighbours_everywhere() {
    let sizes = [1, 5, 13, 14, 53, 82, 110, 160];
    for (i, from) in [1, 3, 4, 6, 7, 22, 28, 52, 65].into_iter().enumerate() {
        for (j, &to) in sizes.iter().enumerate() {
            let to = [to, sizes[(i + j) % sizes.len()]];
            for (coordinates, rounding) in [
                ("asymmetric", "floor"),
                ("half_pixel", "round_prefer_floor"),
                ("pytorch_half_pixel", "round_prefer_ceil"),
                ("align_corners", "ceil"),
            ] {
                let label = format!("{from} to {to:?}, {coordinates}, {rounding}");
                let bytes = by_sizes(from, to, coordinates, rounding);
                let feed = [Array::uniform(&[2, 3, from, from], -1.0, 1.0, 7)];
                let given = Ort::shared().run(&bytes, false, &feed).unwrap();
                let graph = read(&bytes, &NoExternalData).unwrap();
                let run = |graph: &Graph| Ort::shared().run(&write(graph).unwrap(), true, &feed);
                assert_eq!(run(&graph).unwrap(), given, "{label}");
                let (open, _) = graph.with_open_batch("N").unwrap();
                assert_eq!(run(&open).unwrap(), given, "{label}, an open batch");
                assert_eq!(
                    execute(&open, None, &feed[0]).unwrap(),
                    given[0][0],
                    "{label}, libtorch"
                );
            }
        }
    }
}
