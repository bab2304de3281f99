"""Further models of make_models.py: operators without typed attributes, and networks that libtorch cannot run."""

import numpy
from onnx import TensorProto, helper

from model_net import model


def positions(n, x, channels, side=16):
    """The positions of each channel as the last axis."""
    return n.op("Reshape", x, n.ints(0, channels, side * side))


def image(n, x, channels, side=16):
    return n.op("Reshape", x, n.ints(0, channels, side, side))


@model()
def elements_that_are_compared_and_chosen(n):
    x = n.block("x", 3, 12)
    y = n.conv("x", 3, 12)
    more = n.op("Where", n.op("Greater", x, y), x, y)
    kept = n.op("Cast", n.op("And", n.op("Less", y, x), n.op("Not", n.op("IsNaN", x))), to=TensorProto.FLOAT)
    x = n.op("Add", n.op("Mul", more, kept), n.op("Shrink", y, lambd=0.2, bias=0.1))
    x = n.op("Mod", x, n.floats(12, 1, 1, low=0.5, high=1.5), fmod=1)
    n.head(n.block(n.op("Pow", n.op("Abs", x), n.floats(12, 1, 1, low=1, high=2)), 12, 16), 16)


@model()
def elements_that_are_chosen_by_a_mask_per_channel(n):
    x = n.block("x", 3, 12)
    mask = n.const(numpy.arange(12).reshape(1, 12, 1, 1) % 3 != 0)
    n.head(n.block(n.op("Where", mask, x, n.floats(12, 1, 1, low=-1, high=1)), 12, 16), 16)


@model()
def channels_that_are_tiled(n):
    x = n.op("Tile", n.block("x", 3, 6), n.ints(1, 2, 1, 1))
    x = n.op("Add", x, n.conv("x", 3, 12))
    n.head(n.block(n.op("Tile", x, n.ints(1, 1, 2, 1)), 12, 16), 16)


@model()
def channels_that_are_picked_by_number(n):
    x = n.block("x", 3, 12)
    x = n.op("Gather", x, n.ints(4, 3, -1, 0, 7, 7, 2, 9), axis=1)
    first = n.op("Gather", n.block("x", 3, 6), n.const(numpy.array(2, numpy.int64)), axis=1)
    x = n.op("Mul", n.block(x, 8, 16), n.op("Unsqueeze", first, n.ints(1)))
    n.head(x, 16)


@model()
def sums_that_run_over_positions_and_over_channels(n):
    x = n.op("CumSum", n.block("x", 3, 12), n.const(numpy.array(-1, numpy.int64)), exclusive=1)
    x = n.op("CumSum", n.block(x, 12, 16), n.const(numpy.array(1, numpy.int64)))
    n.head(n.block(x, 16, 8), 8)


@model()
def norms_over_channels_and_over_positions(n):
    x = n.op("LpNormalization", n.block("x", 3, 12), axis=1)
    x = n.op("LpNormalization", n.block(x, 12, 16), axis=3, p=1)
    n.head(n.op("MeanVarianceNormalization", n.conv(x, 16, 8), axes=[0, 2, 3][1:]), 8)


@model(opset=23, ir_version=11)
def normalisations_by_the_root_mean_square(n):
    x = n.op("Transpose", n.block("x", 3, 12), perm=[0, 2, 3, 1])
    x = n.op("RMSNormalization", x, n.floats(12, low=0.5, high=1.5), axis=-1, epsilon=1e-3)
    x = n.op("Transpose", x, perm=[0, 3, 1, 2])
    x = n.op("RMSNormalization", n.block(x, 12, 16), n.floats(16, low=0.5, high=1.5), axis=-1)
    n.head(x, 16)


@model()
def pools_by_norms(n):
    x = n.op("LpPool", n.block("x", 3, 12), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], p=2)
    x = n.op("GlobalLpPool", n.block(x, 12, 16), p=2)
    n.outputs.append(n.gemm(n.op("Flatten", x), 16, 5))


@model()
def reductions_whose_zeros_matter(n):
    x = n.op("ReduceProd", n.op("Sigmoid", n.conv("x", 3, 12)), axes=[3], keepdims=1)
    y = n.op("ReduceLogSum", n.op("Exp", n.conv("x", 3, 12)), axes=[3], keepdims=1)
    n.head(n.block(n.op("Add", x, y), 12, 16), 16)


@model()
def extrema_by_number(n):
    x = n.block("x", 3, 12)
    best = n.op("Cast", n.op("ArgMax", x, axis=3, keepdims=1), to=TensorProto.FLOAT)
    one = n.op("Hardmax", x, axis=2)
    n.head(n.block(n.op("Add", n.op("Mul", one, x), best), 12, 16), 16)


@model()
def largest_positions(n):
    x = positions(n, n.block("x", 3, 12), 12)
    values, _ = n.op("TopK", x, n.ints(64), outputs=2, axis=-1)
    n.head(n.block(image(n, values, 12, 8), 12, 16), 16)


@model()
def positions_by_number_for_each_channel(n):
    x = n.block("x", 3, 12)
    numbers = numpy.random.default_rng(0).integers(0, 16, (1, 12, 1, 16))
    x = n.op("Add", n.op("GatherElements", n.op("ReduceMean", x, axes=[0], keepdims=1), n.const(numbers), axis=2), x)
    n.head(n.block(x, 12, 16), 16)


@model(opset=16)
def an_image_that_is_sampled_on_a_grid(n):
    grid = n.floats(1, 8, 8, 2, low=-1, high=1)
    x = n.op("ReduceMean", n.block("x", 3, 12), axes=[0], keepdims=1)
    x = n.op("GridSample", x, grid, align_corners=1)
    x = n.op("Add", x, n.conv("x", 3, 12, strides=[2, 2]))
    n.head(n.block(x, 12, 16), 16)


@model()
def triangles_of_positions(n):
    n.head(n.block(n.op("Trilu", n.block("x", 3, 12), upper=0), 12, 16), 16)


@model()
def a_local_response_normalisation_alone(n):
    x = n.block("x", 3, 8)
    x = n.op("LRN", n.block(x, 8, 12), size=3, alpha=0.01, beta=0.6, bias=1.5)
    n.head(n.block(x, 12, 16), 16)


@model()
def rows_that_are_replaced(n):
    x = n.block("x", 3, 12)
    t = n.op("Transpose", n.op("ReduceMean", x, axes=[0], keepdims=0), perm=[1, 2, 0])
    t = n.op("ScatterND", t, n.const([[2], [5]]), n.floats(2, 16, 12, low=-1, high=1))
    t = n.op("Add", t, n.op("GatherND", t, n.const([[i] for i in range(15, -1, -1)])))
    x = n.op("Add", x, n.op("Transpose", t, perm=[2, 0, 1]))
    n.head(n.block(x, 12, 16), 16)


def half(n, *shape):
    return n.const((n.rng.standard_normal(shape) * (2 / numpy.prod(shape[1:])) ** 0.5).astype("f2"))


def half_block(n, x, inputs, out):
    bias = n.const(n.rng.uniform(-0.5, 0.5, out).astype("f2"))
    return n.op("Conv", x, half(n, out, inputs, 3, 3), bias, pads=[1, 1, 1, 1])


@model(element=TensorProto.FLOAT16)
def a_network_of_16_bit_floats(n):
    x = n.op("Relu", half_block(n, "x", 3, 12))
    x = n.op("Mul", x, n.op("Sigmoid", half_block(n, x, 12, 12)))
    x = n.op("Clip", x, n.const(numpy.float16(-1)), n.const(numpy.float16(6)))
    x = n.op("Softplus", half_block(n, x, 12, 16))
    x = n.op("Flatten", n.op("GlobalAveragePool", x))
    n.outputs.append(n.op("Gemm", x, half(n, 5, 16), transB=1))


@model(element=TensorProto.UINT8)
def an_input_of_bytes(n):
    x = n.op("Cast", "x", to=TensorProto.FLOAT)
    x = n.op("Div", x, n.const(numpy.float32(255)))
    n.head(n.block(n.block(x, 3, 12), 12, 16), 16)


@model(element=TensorProto.INT64, input_shape=("N", 16))
def an_input_of_numbers(n):
    x = n.op("Gather", n.floats(300, 12), "x")
    x = n.op("Transpose", n.relu(n.op("MatMul", x, n.floats(12, 16))), perm=[0, 2, 1])
    x = n.relu(n.op("Conv", x, n.floats(20, 16, 3), pads=[1, 1]))
    n.head(x, 20)


def sequence(n, x, channels):
    """The positions as steps of a sequence: [step, image, channel]."""
    return n.op("Transpose", positions(n, x, channels), perm=[2, 0, 1])


def recurrent(n, op_type, gates):
    x = sequence(n, n.op("MaxPool", n.block(n.block("x", 3, 12), 12, 8), kernel_shape=[1, 1]), 8)
    y = n.op(op_type, x, n.floats(1, gates * 6, 8), n.floats(1, gates * 6, 6), hidden_size=6, outputs=2)
    y = n.op("Squeeze", y[1], n.ints(0))
    n.outputs.append(n.gemm(n.relu(n.gemm(y, 6, 10)), 10, 5))


@model()
def a_recurrent_layer_of_long_memory(n):
    recurrent(n, "LSTM", 4)


@model()
def a_recurrent_layer_with_gates(n):
    recurrent(n, "GRU", 3)


@model()
def a_loop_that_reads_values_around_it(n):
    x = n.block(n.block("x", 3, 16), 16, 12)
    shift = n.conv("x", 3, 12)
    info = helper.make_tensor_value_info
    shape = [None, 12, 16, 16]
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", shift], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["next"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("state", TensorProto.FLOAT, shape)],
        [info("on", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, shape)],
    )
    x = n.op("Loop", n.const(numpy.int64(3)), n.const(numpy.array(True)), x, body=body)
    n.head(x, 12)


@model()
def boxes_that_are_suppressed(n):
    x = n.block(n.block("x", 3, 12), 12, 16)
    flat = positions(n, n.op("MaxPool", x, kernel_shape=[4, 4], strides=[4, 4]), 16, 4)
    boxes = n.op("Transpose", n.op("Sigmoid", n.op("Conv", flat, n.floats(4, 16, 1))), perm=[0, 2, 1])
    scores = n.op("Sigmoid", n.op("Conv", flat, n.floats(2, 16, 1)))
    limit = [n.ints(3), n.const(numpy.array([0.5], "f4")), n.const(numpy.array([0.1], "f4"))]
    chosen = n.op("NonMaxSuppression", boxes, scores, *limit)
    n.outputs.append(n.op("Add", n.op("ReduceSum", scores, n.ints(1, 2)), n.op("ReduceSum", n.op("Cast", chosen, to=1))))
