"""Writes small ONNX models, one per shape of network or way of writing it that exporters are known to produce.

    python make_models.py DIRECTORY

Each function below marked @model becomes DIRECTORY/<function>.onnx. Weights are seeded by the name, the input is
called "x" and the batch is the open dimension "N" unless said otherwise. Every model ends in a few numbers per image.
"""

import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import form_models  # noqa: F401, registers its models
import fused_models  # noqa: F401, registers its models
import open_models  # noqa: F401, registers its models
import operator_models  # noqa: F401, registers its models
import sibling_models  # noqa: F401, registers its models
from model_net import MODELS, Reference, model, write

# Padding and kernels


@model(input_shape=("N", 3, 15, 18))
def auto_pad_same_upper(n):
    x = n.block("x", 3, 12, auto_pad="SAME_UPPER", strides=[2, 2])
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    n.head(n.block(x, 12, 16, kernel=2, auto_pad="SAME_UPPER"), 16)


@model(input_shape=("N", 3, 15, 18))
def auto_pad_same_lower(n):
    x = n.block("x", 3, 12, kernel=4, auto_pad="SAME_LOWER", strides=[2, 2])
    x = n.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
    n.head(n.block(x, 12, 16, auto_pad="SAME_LOWER"), 16)


@model()
def auto_pad_valid(n):
    x = n.block("x", 3, 12, auto_pad="VALID", strides=[2, 1])
    x = n.op("MaxPool", x, kernel_shape=[2, 3], strides=[2, 2], auto_pad="VALID")
    n.head(n.block(x, 12, 16, auto_pad="NOTSET", pads=[1, 1, 1, 1]), 16)


@model()
def asymmetric_pads_and_dilations(n):
    x = n.block("x", 3, 12, pads=[0, 1, 2, 3], strides=[1, 2])
    n.head(n.block(x, 12, 16, pads=[2, 2, 2, 2], dilations=[2, 2]), 16)


@model(input_shape=("N", 3, 17, 17))
def pooling_with_ceil_mode_and_counted_pads(n):
    x = n.block("x", 3, 12)
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[0, 0, 0, 0])
    x = n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = n.op("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    n.head(n.block(x, 12, 16), 16)


@model()
def pooling_of_a_non_square_window(n):
    x = n.block("x", 3, 12)
    x = n.op("MaxPool", x, kernel_shape=[2, 4], strides=[2, 1], pads=[1, 0, 0, 2])
    n.head(n.block(x, 12, 16), 16)


# Attributes that became inputs, old and new operator sets


def reduce_mean_head(n, **attributes):
    x = n.block("x", 3, 12)
    x = n.op("ReduceMean", n.block(x, 12, 16), *attributes.pop("inputs", ()), **attributes)
    return x


@model(opset=13)
def reduce_mean_axes_as_attribute(n):
    x = n.op("Flatten", reduce_mean_head(n, axes=[2, 3], keepdims=1))
    n.outputs.append(n.gemm(x, 16, 5))


@model(opset=18)
def reduce_mean_axes_as_input(n):
    x = reduce_mean_head(n, inputs=[n.ints(-1, -2)], keepdims=0)
    n.outputs.append(n.gemm(x, 16, 5))


@model()
def reduce_mean_over_channels(n):
    x = reduce_mean_head(n, axes=[1], keepdims=1)
    n.outputs.append(n.gemm(n.op("Flatten", x), 256, 5))


@model(opset=9)
def operator_set_9(n):
    x = n.op("Clip", n.bn(n.conv("x", 3, 12), 12), min=0.0, max=6.0)
    a, b = n.op("Split", x, outputs=2, axis=1, split=[4, 8])
    b = n.op("Slice", b, axes=[1], starts=[2], ends=[6])
    x = n.op("Add", n.block(a, 4, 8), n.block(b, 4, 8))
    x = n.op("Pad", x, mode="constant", pads=[0, 2, 1, 1, 0, 2, 1, 1], value=0.0)
    x = n.op("Dropout", n.block(x, 12, 8), ratio=0.5)
    x = n.op("Squeeze", n.op("GlobalAveragePool", x), axes=[2, 3])
    n.outputs.append(n.gemm(x, 8, 5))


@model(opset=11)
def operator_set_11(n):
    x = n.op("Clip", n.conv("x", 3, 12), n.const(numpy.float32(0)), n.const(numpy.float32(6)))
    x = n.op("Pad", x, n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    x = n.op("Slice", x, n.ints(0, 0), n.ints(2**62, -1), n.ints(2, 3), n.ints(2, 1))
    x = n.op("Unsqueeze", n.op("Squeeze", n.op("GlobalMaxPool", x), axes=[3]), axes=[-1])
    n.head(n.block(x, 12, 8, kernel=1), 8)


@model(opset=7)
def operator_set_7_with_spatial_batch_norm(n):
    x = n.relu(n.bn(n.conv("x", 3, 12, bias=False), 12))
    n.head(n.relu(n.bn(n.conv(x, 12, 16), 16, epsilon=1e-3)), 16)


@model(opset=18)
def split_by_number_of_outputs(n):
    a, b, c = n.op("Split", n.block("x", 3, 14), outputs=3, axis=-3, num_outputs=3)
    n.head(n.op("Concat", n.block(a, 5, 8), n.block(b, 5, 8), c, axis=1), 20)


@model(opset=21, ir_version=10)
def operator_set_21(n):
    x = n.op("Gelu", n.block("x", 3, 12), approximate="tanh")
    x = n.op("Gelu", n.conv(x, 12, 16))
    x = n.op("ReduceMean", x, n.ints(2, 3), keepdims=1)
    n.outputs.append(n.gemm(n.op("Reshape", x, n.ints(0, -1)), 16, 5))


@model()
def optional_inputs_left_out(n):
    x = n.op("Clip", n.conv("x", 3, 12), "", n.const(numpy.float32(1.5)))
    x = n.op("Clip", n.conv(x, 12, 16), n.const(numpy.float32(-0.5)))
    n.head(n.op("Clip", x), 16)


@model()
def dropout_with_ratio_and_unused_mask(n):
    x = n.op("Dropout", n.block("x", 3, 12), n.const(numpy.float32(0.3)))
    n.head(n.op("Dropout", n.block(x, 12, 16)), 16)


# Names and constants


@model()
def nodes_without_names(n):
    x = n.op("Conv", "x", n.floats(12, 3, 3, 3), name="", pads=[1] * 4)
    x = n.op("Relu", n.op("BatchNormalization", x, *[n.floats(12, low=0.5, high=1) for _ in range(4)], name=""), name="")
    n.head(n.op("Conv", x, n.floats(16, 12, 1, 1), name=""), 16)


@model()
def equal_initializers_shared_through_identity(n):
    ones, zeros = n.const(numpy.full(12, 0.9, "f4")), n.const(numpy.full(12, 0.1, "f4"))
    x = "x"
    for i, c in enumerate((3, 12, 12)):
        parameters = [ones, zeros, zeros, ones]
        if i:
            parameters = [n.op("Identity", p) for p in parameters]
        x = n.relu(n.op("BatchNormalization", n.conv(x, c, 12, bias=False), *parameters))
    n.head(x, 12)


@model()
def weights_in_constant_nodes(n):
    def constant(array):
        return n.op("Constant", value=numpy_helper.from_array(array))

    weight = (n.rng.standard_normal((12, 3, 3, 3)) * 0.3).astype("f4")
    x = n.relu(n.op("Conv", "x", constant(weight)))
    x = n.op("Mul", x, constant(numpy.float32(0.5)))
    x = n.op("Add", x, n.op("Constant", value_float=0.25))
    n.head(n.block(x, 12, 16), 16)


@model()
def one_weight_read_by_two_convolutions(n):
    x = n.block("x", 3, 12)
    weight, bias = n.floats(12, 12, 3, 3), n.floats(12, low=-1, high=1)
    fine = n.op("Conv", x, weight, bias, pads=[1] * 4)
    coarse = n.op("Conv", n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), weight, bias, pads=[1] * 4)
    fine = n.op("GlobalAveragePool", n.block(fine, 12, 8))
    coarse = n.op("GlobalAveragePool", n.block(coarse, 12, 8))
    x = n.op("Flatten", n.op("Concat", fine, coarse, axis=1))
    n.outputs.append(n.gemm(x, 16, 5))


@model()
def a_constant_that_is_also_an_output(n):
    n.head(n.block("x", 3, 12), 12)
    n.outputs.append(n.op("Identity", n.const(numpy.arange(4, dtype="f4"))))


@model()
def frozen_batch_norm_as_mul_and_add(n):
    x = n.conv("x", 3, 12, bias=False)
    x = n.op("Add", n.op("Mul", x, n.floats(1, 12, 1, 1, low=0.5, high=1.5)), n.floats(12, 1, 1, low=-1, high=1))
    x = n.op("Sub", n.block(n.relu(x), 12, 16), n.floats(16, 1, 1, low=-1, high=1))
    n.head(n.op("Div", x, n.floats(1, 16, 1, 1, low=0.5, high=1.5)), 16)


# Branches


@model()
def split_and_concat(n):
    a, b = n.op("Split", n.block("x", 3, 16), n.ints(4, 12), outputs=2, axis=1)
    x = n.op("Concat", n.block(a, 4, 8), b, n.block(b, 12, 8), axis=1)
    n.head(n.block(x, 28, 16), 16)


@model()
def dense_blocks_with_batch_norm_after_concat(n):
    x, c = n.conv("x", 3, 12), 12
    for _ in range(3):
        y = n.relu(n.bn(x, c))
        x, c = n.op("Concat", x, n.conv(y, c, 8), axis=1), c + 8
    n.head(n.relu(n.bn(x, c)), c)


@model()
def the_same_value_twice_in_a_concat(n):
    x = n.block("x", 3, 12)
    n.head(n.block(n.op("Concat", x, x, axis=1), 24, 16), 16)


@model()
def concat_of_rows_and_of_columns(n):
    a, b = n.block("x", 3, 12), n.block("x", 3, 12)
    x = n.op("Concat", a, b, axis=2)
    n.head(n.block(n.op("Concat", x, x, axis=-1), 12, 16), 16)


@model()
def channel_slices_added(n):
    x = n.block("x", 3, 16)
    a = n.op("Slice", x, n.ints(0), n.ints(8), n.ints(1))
    b = n.op("Slice", x, n.ints(-8), n.ints(2**63 - 1), n.ints(1))
    even = n.op("Slice", x, n.ints(0), n.ints(16), n.ints(1), n.ints(2))
    n.head(n.block(n.op("Add", n.op("Add", a, b), even), 8, 12), 12)


@model()
def channels_reversed_by_a_slice(n):
    x = n.block("x", 3, 12)
    x = n.op("Slice", x, n.ints(-1), n.ints(-(2**63)), n.ints(1), n.ints(-1))
    n.head(n.block(x, 12, 16), 16)


@model()
def channel_padding_with_a_value(n):
    x = n.op("Pad", n.block("x", 3, 8), n.ints(0, 3, 0, 0, 0, 5, 0, 0), n.const(numpy.float32(0.75)))
    n.head(n.op("Add", n.block(x, 16, 16), x), 16)


@model()
def padding_of_edges(n):
    x = n.op("Pad", n.block("x", 3, 12), n.ints(0, 0, 2, 1, 0, 0, 0, 3), mode="edge")
    n.head(n.block(x, 12, 16), 16)


@model()
def grouped_convolution_in_a_residual_block(n):
    x = n.block("x", 3, 16, kernel=1)
    y = n.block(x, 16, 32, kernel=1)
    y = n.block(y, 32, 32, group=4, bias=False)
    n.head(n.op("Add", n.conv(y, 32, 16, kernel=1), x), 16)


@model()
def grouped_convolution_that_changes_width(n):
    x = n.block("x", 3, 12)
    n.head(n.block(n.block(x, 12, 24, group=3), 24, 16, group=2), 16)


@model()
def depthwise_convolutions(n):
    x = n.block("x", 3, 12)
    x = n.op("Clip", n.conv(x, 12, 12, group=12), n.const(numpy.float32(0)), n.const(numpy.float32(6)))
    n.head(n.block(x, 12, 16, kernel=1), 16)


@model()
def depthwise_convolution_with_a_multiplier(n):
    x = n.block("x", 3, 12)
    n.head(n.block(n.block(x, 12, 24, group=12), 24, 16, kernel=1), 16)


@model()
def channel_shuffle(n):
    x = n.block("x", 3, 12)
    x = n.op("Reshape", x, n.ints(0, 3, 4, 16, 16))
    x = n.op("Reshape", n.op("Transpose", x, perm=[0, 2, 1, 3, 4]), n.ints(0, -1, 16, 16))
    n.head(n.block(x, 12, 16), 16)


@model()
def squeeze_and_excitation(n):
    x = n.block("x", 3, 16)
    s = n.op("GlobalAveragePool", x)
    s = n.op("HardSigmoid", n.conv(n.block(s, 16, 8, kernel=1), 8, 16, kernel=1), alpha=1 / 6, beta=0.5)
    n.head(n.op("HardSwish", n.op("Mul", x, s)), 16)


@model()
def squeeze_and_excitation_by_linear_layers(n):
    x = n.block("x", 3, 16)
    s = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    s = n.op("Sigmoid", n.gemm(n.relu(n.gemm(s, 16, 8)), 8, 16))
    s = n.op("Unsqueeze", n.op("Unsqueeze", s, n.ints(2)), n.ints(3))
    n.head(n.op("Mul", s, x), 16)


@model()
def spatial_attention_broadcast_over_channels(n):
    x = n.block("x", 3, 16)
    n.head(n.block(n.op("Mul", x, n.op("Sigmoid", n.conv(x, 16, 1))), 16, 12), 12)


@model()
def attention_of_channels_and_then_of_positions(n):
    x = n.block("x", 3, 16)
    s = n.op("GlobalAveragePool", x)
    x = n.op("Mul", x, n.op("Sigmoid", n.conv(n.block(s, 16, 4, kernel=1), 4, 16, kernel=1)))
    both = n.op("Concat", n.op("ReduceMean", x, axes=[1], keepdims=1), n.op("ReduceMean", x, axes=[1], keepdims=1), axis=1)
    x = n.op("Mul", n.op("Sigmoid", n.conv(both, 2, 1, kernel=7)), x)
    n.head(n.block(n.op("Add", x, n.conv(x, 16, 1)), 16, 12), 12)


@model()
def product_and_difference_of_branches(n):
    a, b = n.block("x", 3, 12), n.block("x", 3, 12, kernel=1)
    x = n.op("Sub", n.op("Mul", a, b), n.block(a, 12, 12))
    n.head(n.op("Mul", x, n.op("Add", n.op("Sigmoid", n.conv(b, 12, 12, kernel=1)), n.const(numpy.float32(1)))), 12)


@model()
def sum_with_a_pooled_branch(n):
    x = n.block("x", 3, 12)
    n.head(n.block(n.op("Add", x, n.op("GlobalMaxPool", n.block(x, 12, 12))), 12, 16), 16)


@model()
def several_outputs(n):
    x = n.block("x", 3, 12)
    n.outputs.append(n.op("GlobalMaxPool", x))
    n.head(n.block(x, 12, 16), 16)


@model()
def an_output_in_the_middle_of_a_chain(n):
    x = n.conv("x", 3, 12)
    n.outputs.append(x)
    n.head(n.block(n.relu(x), 12, 16), 16)


# Heads


def linear_head_of_a_map(n, flatten, **attributes):
    x = n.block(n.block("x", 3, 12, strides=[2, 2]), 12, 6, strides=[2, 2])
    n.outputs.append(n.gemm(n.relu(n.gemm(flatten(x), 96, 10, **attributes)), 10, 5))


@model()
def flatten_of_a_map(n):
    linear_head_of_a_map(n, lambda x: n.op("Flatten", x))


@model()
def flatten_by_negative_axis_then_scaled_gemm(n):
    linear_head_of_a_map(n, lambda x: n.op("Flatten", x, axis=-3), transB=0, alpha=0.5, beta=2.0)


@model()
def flatten_by_reshape(n):
    linear_head_of_a_map(n, lambda x: n.op("Reshape", x, n.ints(-1, 96)))


@model()
def flatten_by_shape_arithmetic(n):
    def flatten(x):
        batch = n.op("Unsqueeze", n.op("Gather", n.op("Shape", x), n.const(numpy.int64(0)), axis=0), n.ints(0))
        return n.op("Reshape", x, n.op("Concat", batch, n.ints(-1), axis=0))

    linear_head_of_a_map(n, flatten)


@model(input_shape=(1, 3, 16, 16))
def flatten_with_the_batch_written_into_the_reshape(n):
    linear_head_of_a_map(n, lambda x: n.op("Reshape", x, n.ints(1, -1)))


@model()
def channels_last_before_the_flatten(n):
    linear_head_of_a_map(n, lambda x: n.op("Flatten", n.op("Transpose", x, perm=[0, 2, 3, 1])))


@model()
def matmul_and_add_as_a_linear_layer(n):
    x = n.op("Flatten", n.op("GlobalAveragePool", n.block("x", 3, 12)))
    x = n.op("Tanh", n.op("Add", n.op("MatMul", x, n.floats(12, 16)), n.floats(16, low=-1, high=1)))
    n.outputs.append(n.op("Softmax", n.op("MatMul", x, n.floats(16, 5)), axis=-1))


@model()
def gemm_without_bias_then_batch_norm(n):
    x = n.op("Flatten", n.op("GlobalAveragePool", n.block("x", 3, 12)))
    x = n.relu(n.bn(n.op("Gemm", x, n.floats(16, 12), transB=1), 16))
    n.outputs.append(n.op("LogSoftmax", n.gemm(x, 16, 5), axis=1))


@model(opset=11)
def softmax_of_operator_set_11_over_all_later_axes(n):
    x = n.conv("x", 3, 4, strides=[4, 4])
    n.outputs.append(n.op("Softmax", x, axis=1))


@model()
def softmax_over_channels_in_the_middle(n):
    x = n.op("Softmax", n.conv("x", 3, 12), axis=1)
    n.head(n.block(x, 12, 16), 16)


# Activations


@model()
def activations_that_do_not_map_zero_to_zero(n):
    x = n.op("Sigmoid", n.conv("x", 3, 12))
    x = n.op("Exp", n.op("Clip", n.conv(x, 12, 16), n.const(numpy.float32(0.2)), n.const(numpy.float32(1))))
    x = n.op("HardSigmoid", n.conv(x, 16, 12))
    n.head(n.op("Sqrt", n.op("Sigmoid", n.conv(x, 12, 8))), 8)


@model()
def activations_with_slopes(n):
    x = n.op("PRelu", n.conv("x", 3, 12), n.floats(12, 1, 1, low=0.1, high=0.5))
    x = n.op("LeakyRelu", n.conv(x, 12, 16), alpha=0.2)
    n.head(n.op("PRelu", n.conv(x, 16, 8), n.floats(1, low=0.1, high=0.5)), 8)


@model(opset=22, ir_version=10)
def activations_that_saturate_below(n):
    x = n.op("Elu", n.conv("x", 3, 12), alpha=0.7)
    x = n.op("Selu", n.conv(x, 12, 8))
    x = n.op("Celu", n.conv(x, 8, 12), alpha=1.5)
    x = n.op("Mish", n.conv(x, 12, 8))
    x = n.op("Softplus", n.conv(x, 8, 12))
    x = n.op("ThresholdedRelu", n.op("Softsign", n.conv(x, 12, 8)), alpha=-0.3)
    n.head(x, 8)


@model(opset=22, ir_version=10)
def functions_of_single_elements(n):
    x = n.conv("x", 3, 12)
    x = n.op("Add", n.op("Sin", x), n.op("Cos", n.op("Abs", x)))
    x = n.op("Tanh", n.conv(n.op("Neg", x), 12, 8))
    small = n.op("Mul", x, n.const(numpy.float32(0.8)))
    parts = [n.op(name, small) for name in ("Asin", "Acos", "Atan", "Atanh", "Asinh", "Sinh", "Cosh", "Tan")]
    x = n.conv(n.op("Sum", *parts), 8, 12)
    large = n.op("Add", n.op("Exp", n.op("Tanh", x)), n.const(numpy.float32(1)))
    n.head(n.op("Mul", n.op("Log", large), n.op("Add", n.op("Reciprocal", large), n.op("Acosh", large))), 12)


@model()
def joins_of_any_number_of_operands(n):
    a, b, c = (n.block("x", 3, 12, kernel=kernel) for kernel in (1, 3, 1))
    x = n.op("Max", a, n.op("Min", a, b, c), n.const(numpy.float32(0.1)))
    x = n.op("Mean", x, n.op("Sum", b), n.op("Min", c, n.floats(12, 1, 1, low=0.5, high=2)))
    n.head(n.block(n.op("Sum", x, a, b), 12, 16), 16)


@model()
def reductions_over_positions(n):
    x = n.block("x", 3, 12)
    parts = [
        n.op(name, x, axes=[2, 3], keepdims=1)
        for name in ("ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare", "ReduceLogSumExp")
    ]
    x = n.op("Mul", x, n.op("Sigmoid", n.op("Mean", *parts)))
    n.head(n.block(x, 12, 16), 16)


@model()
def attention_by_the_extrema_over_channels(n):
    x = n.block("x", 3, 12)
    high, low = (n.op(name, x, axes=[1], keepdims=1) for name in ("ReduceMax", "ReduceMin"))
    n.head(n.block(n.op("Mul", x, n.op("Sigmoid", n.op("Sub", high, low))), 12, 16), 16)


@model()
def channels_that_become_positions_and_back(n):
    x = n.block("x", 3, 32)
    x = n.block(n.op("DepthToSpace", x, blocksize=2, mode="CRD"), 8, 16)
    x = n.block(n.op("DepthToSpace", x, blocksize=2), 4, 12)
    n.head(n.block(n.op("SpaceToDepth", x, blocksize=2), 48, 16), 16)


@model()
def gelu_written_out_with_erf(n):
    x = n.conv("x", 3, 12)
    y = n.op("Erf", n.op("Div", x, n.const(numpy.float32(2**0.5))))
    y = n.op("Mul", x, n.op("Add", y, n.const(numpy.float32(1))))
    n.head(n.conv(n.op("Mul", y, n.const(numpy.float32(0.5))), 12, 16), 16)


# Less usual layers


@model()
def convnext_block_in_channels_last(n):
    x = n.conv("x", 3, 12, kernel=4, strides=[4, 4], pads=[0] * 4)
    y = n.op("Transpose", n.conv(x, 12, 12, kernel=3, group=12), perm=[0, 2, 3, 1])
    y = n.op("Add", n.op("MatMul", y, n.floats(12, 24)), n.floats(24, low=-1, high=1))
    y = n.op("MatMul", n.relu(y), n.floats(24, 12))
    y = n.op("Transpose", n.op("Mul", y, n.floats(12, low=0.5, high=1)), perm=[0, 3, 1, 2])
    n.head(n.block(n.op("Add", x, y), 12, 16), 16)


@model()
def selective_kernels_of_two_branches(n):
    x = n.block("x", 3, 12)
    a, b = n.block(x, 12, 8), n.block(x, 12, 8, kernel=1)
    both = n.op("Concat", n.op("Unsqueeze", a, n.ints(1)), n.op("Unsqueeze", b, n.ints(1)), axis=1)
    s = n.op("ReduceMean", n.op("ReduceSum", both, n.ints(1), keepdims=0), axes=[2, 3], keepdims=1)
    s = n.conv(n.block(s, 8, 6, kernel=1), 6, 16, kernel=1)
    s = n.op("Softmax", n.op("Reshape", s, n.ints(-1, 2, 8, 1, 1)), axis=1)
    x = n.op("ReduceSum", n.op("Mul", both, s), n.ints(1), keepdims=0)
    n.head(n.block(n.op("Mul", x, n.op("ReduceSum", x, n.ints(1), keepdims=1)), 8, 16), 16)


@model()
def layer_norm_over_the_channels(n):
    x = n.conv("x", 3, 12, kernel=4, strides=[4, 4], pads=[0] * 4)
    y = n.op("Transpose", n.conv(x, 12, 12, kernel=3, group=12), perm=[0, 2, 3, 1])
    y = n.op("LayerNormalization", y, n.floats(12, low=0.5, high=1.5), n.floats(12, low=-1, high=1), epsilon=1e-6)
    y = n.op("MatMul", n.op("Erf", n.op("MatMul", y, n.floats(12, 24))), n.floats(24, 12))
    y = n.op("LayerNormalization", y, n.floats(12, low=0.5, high=1.5))
    n.head(n.block(n.op("Add", x, n.op("Transpose", y, perm=[0, 3, 1, 2])), 12, 16), 16)


@model()
def layer_norm_over_positions_and_over_whole_images(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    x = n.op("LayerNormalization", x, n.floats(8, low=0.5, high=1.5), n.floats(8, low=-1, high=1), axis=-1)
    x = n.block(x, 12, 10)
    x = n.op("LayerNormalization", x, n.floats(10, 8, 8, low=0.5, high=1.5), axis=1)
    n.head(n.block(x, 10, 16), 16)


@model()
def transposed_convolutions(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    x = n.op("ConvTranspose", x, n.floats(12, 8, 3, 3), n.floats(8, low=-1, high=1), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])
    x = n.relu(n.bn(n.op("ConvTranspose", n.relu(x), n.floats(8, 5, 2, 2), group=2), 10))
    n.head(x, 10)


@model()
def transposed_convolution_with_auto_pad(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    n.head(n.relu(n.op("ConvTranspose", x, n.floats(12, 8, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")), 8)


@model()
def batch_norm_before_any_convolution(n):
    x = n.conv(n.bn("x", 3), 3, 12)
    n.head(n.conv(n.relu(n.bn(n.op("MaxPool", x, kernel_shape=[2, 2]), 12)), 12, 16), 16)


@model(opset=13)
def resize_to_sizes_out_of_shapes(n):
    x = n.block("x", 3, 12)
    small = n.block(x, 12, 16, strides=[2, 2])
    to = n.op("Slice", n.op("Shape", x), n.ints(2), n.ints(4), n.ints(0))
    lead = n.op("Slice", n.op("Shape", small), n.ints(0), n.ints(2), n.ints(0))
    up = n.op("Resize", small, "", "", n.op("Concat", lead, to, axis=0), mode="linear",
              coordinate_transformation_mode="half_pixel")
    n.head(n.block(n.op("Concat", x, up, axis=1), 28, 16), 16)


@model(input_shape=("N", 3, "H", "W"))
def resize_to_computed_sizes_of_an_open_image(n):
    x = n.block("x", 3, 12)
    small = n.block(x, 12, 16, strides=[2, 2])
    sizes = [n.op("Unsqueeze", n.op("Gather", n.op("Shape", x), n.const(numpy.int64(i))), n.ints(0)) for i in (2, 3)]
    lead = n.op("Slice", n.op("Shape", small), n.ints(0), n.ints(2), n.ints(0))
    up = n.op("Resize", small, "", "", n.op("Concat", lead, *sizes, axis=0), mode="nearest",
              coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    n.head(n.block(n.op("Concat", x, up, axis=1), 28, 16), 16)


@model()
def zeros_of_a_computed_shape_beside_the_channels(n):
    x = n.block("x", 3, 8)
    x = n.op("Add", n.conv(n.block(x, 8, 12), 12, 16), n.op("Concat", x, n.op("ConstantOfShape", n.op("Shape", x)), axis=1))
    x = n.relu(x)
    zeros = n.op("ConstantOfShape", n.op("Shape", n.op("Slice", x, n.ints(0), n.ints(4), n.ints(1))))
    n.head(n.op("Add", n.block(x, 16, 24), n.op("Concat", zeros, x, zeros, axis=1)), 24)


@model()
def tokens_mixed_behind_and_before_the_channels(n):
    x = n.block("x", 3, 12, kernel=4, strides=[4, 4], pads=[0] * 4)
    x = n.op("Reshape", x, n.ints(0, 12, -1))
    y = n.op("MatMul", n.op("Add", n.op("MatMul", x, n.floats(16, 20)), n.floats(20, low=-1, high=1)), n.floats(20, 16))
    x = n.op("Transpose", n.op("Add", x, n.op("Erf", y)), perm=[0, 2, 1])
    x = n.op("Add", x, n.op("MatMul", n.floats(16, 16), n.op("MatMul", n.relu(n.op("MatMul", x, n.floats(12, 10))), n.floats(10, 12))))
    x = n.op("Flatten", n.op("MatMul", x, n.floats(12, 14)), axis=2)
    x = n.op("Reshape", n.bn(x, 14), n.ints(-1, 16, 14))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 14, 5))


@model()
def blocks_of_a_linear_layer_as_an_image(n):
    x = n.op("Flatten", n.op("GlobalAveragePool", n.block("x", 3, 12)))
    x = n.op("Reshape", n.relu(n.gemm(x, 12, 128)), n.ints(-1, 8, 4, 4))
    x = n.op("ConvTranspose", x, n.floats(8, 6, 4, 4), n.floats(6, low=-1, high=1), strides=[2, 2], pads=[1] * 4)
    n.head(n.block(x, 6, 10), 10)


@model()
def resize_by_fractions(n):
    x = n.block("x", 3, 12)
    scales = n.const(numpy.array([1, 1, 1.3, 0.7], "f4"))
    up = n.op("Resize", x, "", scales, mode="linear")
    down = n.op("Resize", x, "", scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")
    n.head(n.block(n.op("Concat", up, down, axis=1), 24, 16), 16)


@model(opset=18)
def resize_by_nearest_neighbours_into_a_pyramid(n):
    x = n.block("x", 3, 12)
    low = n.block(x, 12, 12, strides=[2, 2])
    scales = n.const(numpy.array([1, 1, 2, 2], "f4"))
    up = n.op("Resize", low, "", scales, mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")
    n.head(n.block(n.op("Add", x, up), 12, 16), 16)


@model()
def resize_in_the_middle(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    scales = n.const(numpy.array([1, 1, 2, 2], "f4"))
    x = n.op("Resize", x, "", scales, mode="nearest")
    n.head(n.block(x, 12, 16), 16)


@model()
def instance_norm_and_local_response_norm(n):
    x = n.op("InstanceNormalization", n.conv("x", 3, 12), n.floats(12, low=0.5, high=1), n.floats(12, low=-1, high=1))
    x = n.op("LRN", n.block(n.relu(x), 12, 16), size=5)
    n.head(n.block(x, 16, 8), 8)


@model(domains=("com.microsoft",))
def an_operator_of_another_domain(n):
    x = n.op("Trilu", n.conv("x", 3, 12), domain="com.microsoft", upper=1)
    n.head(n.block(x, 12, 16), 16)


@model(domains=("com.microsoft",))
def activations_of_another_domain(n):
    x = n.op("QuickGelu", n.conv("x", 3, 12), domain="com.microsoft", alpha=1.7)
    x = n.op("FastGelu", n.conv(x, 12, 12), domain="com.microsoft")
    x = n.op("Gelu", n.conv(x, 12, 8), domain="com.microsoft")
    x = n.op("Transpose", n.conv(x, 8, 12), perm=[0, 2, 3, 1])
    x = n.op("BiasGelu", x, n.floats(12, low=-1, high=1), domain="com.microsoft")
    n.head(n.block(n.op("Transpose", x, perm=[0, 3, 1, 2]), 12, 16), 16)


@model()
def a_branch_with_a_subgraph(n):
    x = n.block("x", 3, 12)
    condition = n.op("Greater", n.op("ReduceMax", x, keepdims=0), n.const(numpy.float32(0.5)))
    shape = [None, 12, 16, 16]
    info = helper.make_tensor_value_info

    def branch(op_type, out):
        node = helper.make_node(op_type, [x], [out], name=out)
        return helper.make_graph([node], out, [], [info(out, TensorProto.FLOAT, shape)])

    x = n.op("If", condition, then_branch=branch("Relu", "yes"), else_branch=branch("Tanh", "no"))
    n.head(n.block(x, 12, 16), 16)


def functions(n, opset=None):
    n.function("Scaled", "x", "y", [
        ("Constant", "", "c", {"value_float": Reference("slope", onnx.AttributeProto.FLOAT)}),
        ("Mul", "x c", "y", {}),
    ], defaults={"slope": 0.25})
    n.function("Rectified", "x", "y", [
        ("Scaled", "x", "t", {"slope": Reference("steep", onnx.AttributeProto.FLOAT)}),
        ("Relu", "x", "r", {}),
        ("Add", "r t", "y", {}),
    ], opset=opset, attributes=["steep"])
    n.function("Convolved", "x w b scale shift mean var", "y before", [
        ("Conv", "x w b", "t", {"strides": Reference("strides", onnx.AttributeProto.INTS), "pads": [1, 1, 1, 1]}),
        ("BatchNormalization", "t scale shift mean var", "before", {"epsilon": Reference("epsilon", onnx.AttributeProto.FLOAT)}),
        ("Rectified", "before", "y", {"steep": Reference("steep", onnx.AttributeProto.FLOAT)}),
    ], attributes=["strides", "steep"], defaults={"epsilon": 0.01})


def convolved(n, x, inputs, out, **attributes):
    weights = [n.floats(out, inputs, 3, 3), n.floats(out, low=-0.5, high=0.5)]
    norm = [n.floats(out, low=low, high=high) for low, high in ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5))]
    return n.op("Convolved", x, *weights, *norm, outputs=2, domain="net", **attributes)


@model(opset=18, domains=("net",))
def functions_that_call_functions(n):
    functions(n)
    x, before = convolved(n, "x", 3, 12, strides=[2, 2], steep=0.1)
    x = n.op("Concat", x, n.op("Scaled", before, domain="net"), axis=1)
    n.head(convolved(n, x, 24, 16, strides=[1, 1], steep=0.3, epsilon=0.001)[0], 16)


@model(opset=18, domains=("net",))
def functions_of_another_operator_set(n):
    functions(n, opset=13)
    x, _ = convolved(n, "x", 3, 12, strides=[2, 2], steep=0.1)
    n.function("Padded", "x low high", "y", [
        ("Constant", "", "pads", {"value_ints": [0, 0, 1, 1, 0, 0, 1, 1]}),
        ("Pad", "x pads", "p", {"mode": "reflect"}),
        ("Clip", "p low high", "y", {}),
    ], opset=13)
    x = n.op("Padded", x, "", n.const(numpy.float32(2)), domain="net")
    n.head(n.block(x, 12, 16), 16)


@model(opset=18, domains=("net",))
def a_function_with_a_branch(n):
    x = n.block("x", 3, 12)
    info = helper.make_tensor_value_info

    def branch(op_type, out):
        node = helper.make_node(op_type, ["x"], [out], name=out)
        return helper.make_graph([node], out, [], [info(out, TensorProto.FLOAT, None)])

    n.function("Chosen", "x", "y", [
        ("ReduceMax", "x", "m", {"keepdims": 0}),
        ("Constant", "", "c", {"value_float": 0.5}),
        ("Greater", "m c", "more", {}),
        ("If", "more", "y", {"then_branch": branch("Relu", "yes"), "else_branch": branch("Tanh", "no")}),
    ])
    n.function("Halved", "x", "y", [
        ("Chosen", "x", "t", {}),
        ("Constant", "", "c", {"value_float": 0.5}),
        ("Mul", "t c", "y", {}),
    ])
    n.head(n.block(n.op("Halved", n.block(x, 12, 10), domain="net"), 10, 16), 16)


@model(input_shape=("N", 4, 40))
def one_dimensional_convolutions(n):
    x = n.relu(n.op("Conv", "x", n.floats(12, 4, 5), n.floats(12, low=-1, high=1), pads=[2, 2], strides=[2]))
    x = n.relu(n.bn(n.op("Conv", x, n.floats(12, 1, 3), group=12, pads=[1, 1]), 12))
    n.head(n.op("MaxPool", n.op("Conv", x, n.floats(16, 12, 1)), kernel_shape=[2], strides=[2]), 16)


@model()
def channel_attention_by_a_convolution_over_channels(n):
    x = n.block("x", 3, 12)
    s = n.op("Reshape", n.op("GlobalAveragePool", x), n.ints(-1, 1, 12))
    s = n.op("Sigmoid", n.op("Conv", s, n.floats(1, 1, 3), pads=[1, 1]))
    n.head(n.op("Mul", x, n.op("Reshape", s, n.ints(-1, 12, 1, 1))), 12)


@model()
def fully_linear_network(n):
    x = n.op("Flatten", "x")
    x = n.relu(n.gemm(x, 768, 32))
    n.outputs.append(n.gemm(n.op("Dropout", n.relu(n.gemm(x, 32, 16))), 16, 5))


def main():
    directory = pathlib.Path(sys.argv[1])
    for name in MODELS:
        try:
            write(name, directory)
        except Exception as error:
            raise SystemExit(f"{name}: {error}") from error


if __name__ == "__main__":
    main()
