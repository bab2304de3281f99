"""Models for make_models.py: ways to write attention, recurrence and decoders, and operators that ONNX Runtime's optimiser writes."""

import numpy
from model_net import model

MICROSOFT = "com.microsoft"


@model()
def every_second_channel_by_slices(n):
    x = n.block("x", 3, 16)
    even, odd = (n.op("Slice", x, n.ints(start), n.ints(2**31), n.ints(1), n.ints(2)) for start in (0, 1))
    x = n.op("Concat", n.op("Mul", even, odd), n.block(odd, 8, 8), axis=1)
    quarter = n.op("Slice", x, n.ints(6), n.ints(14), n.ints(1), n.ints(4))
    back = n.op("Slice", x, n.ints(-1), n.ints(-(2**31)), n.ints(1), n.ints(-1))
    x = n.op("Concat", n.block(quarter, 2, 6), n.block(back, 16, 6), axis=1)
    n.head(n.block(x, 12, 10), 10)


@model()
def windows_that_slide_along_channels_and_rows(n):
    x = n.block("x", 3, 12)
    turned = n.op("Transpose", x, perm=[0, 2, 1, 3])
    pooled = n.op("Concat", n.op("ReduceMax", turned, axes=[1]), n.op("ReduceMean", turned, axes=[1]), axis=1)
    gate = n.op("Sigmoid", n.op("Conv", pooled, n.floats(1, 2, 3, 3), n.floats(1, low=-1, high=1), pads=[1] * 4))
    x = n.op("Transpose", n.op("Mul", turned, gate), perm=[0, 2, 1, 3])
    square = n.op("Unsqueeze", n.op("Mul", x, x), n.ints(1))
    square = n.op("Pad", square, n.ints(0, 0, 2, 0, 0, 0, 0, 2, 0, 0))
    mean = n.op("Squeeze", n.op("AveragePool", square, kernel_shape=[5, 1, 1], strides=[1] * 3), n.ints(1))
    x = n.op("Div", x, n.op("Add", mean, n.const(numpy.float32(1))))
    n.head(n.block(x, 12, 10), 10)


@model()
def transposed_convolutions_in_groups(n):
    x = n.block("x", 3, 12, strides=[4, 4])
    x = n.relu(n.op("ConvTranspose", x, n.floats(12, 1, 4, 4), n.floats(12, low=-1, high=1), group=12, strides=[2, 2], pads=[1] * 4))
    x = n.relu(n.op("ConvTranspose", x, n.floats(12, 4, 2, 2), n.floats(12, low=-1, high=1), group=3, strides=[2, 2]))
    x = n.op("ConvTranspose", n.block(x, 12, 6), n.floats(6, 2, 3, 3), n.floats(12, low=-1, high=1), group=6)
    n.head(n.block(x, 12, 10), 10)


def recurrent(n, op_type, x, inputs, hidden, directions, gates, **attributes):
    weights = [n.floats(directions, gates * hidden, size) for size in (inputs, hidden)]
    bias = n.floats(directions, 2 * gates * hidden, low=-0.5, high=0.5)
    batch = n.op("Unsqueeze", n.op("Gather", n.op("Shape", x), n.const(numpy.int64(1))), n.ints(0))
    zeros = n.op("ConstantOfShape", n.op("Concat", n.ints(directions), batch, n.ints(hidden), axis=0))
    states = [zeros, zeros] if op_type == "LSTM" else [zeros]
    direction = "bidirectional" if directions == 2 else "forward"
    y = n.op(op_type, x, *weights, bias, "", *states, hidden_size=hidden, direction=direction, **attributes)
    y = n.op("Transpose", y, perm=[0, 2, 1, 3])
    return n.op("Reshape", y, n.ints(0, 0, -1)), directions * hidden


@model()
def recurrent_layers_over_the_columns_of_a_map(n):
    x = n.op("MaxPool", n.block("x", 3, 12), kernel_shape=[16, 1], strides=[16, 1])
    x = n.op("Transpose", n.op("Squeeze", x, n.ints(2)), perm=[2, 0, 1])
    x, size = recurrent(n, "LSTM", x, 12, 10, 2, 4)
    x = n.op("Add", n.op("MatMul", x, n.floats(size, 8)), n.floats(8, low=-1, high=1))
    x, size = recurrent(n, "GRU", x, 8, 9, 1, 3, linear_before_reset=1)
    x, size = recurrent(n, "RNN", x, size, 6, 1, 1)
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[0], keepdims=0), size, 5))


@model()
def queries_of_a_decoder_and_chosen_tokens(n):
    x = n.block("x", 3, 12, kernel=4, strides=[4, 4], pads=[0] * 4)
    x = n.op("Transpose", n.op("Reshape", x, n.ints(-1, 12, 16)), perm=[0, 2, 1])
    score = n.op("Squeeze", n.op("MatMul", x, n.floats(12, 1)), n.ints(2))
    _, chosen = n.op("TopK", score, n.ints(6), axis=1, outputs=2)
    chosen = n.op("Expand", n.op("Unsqueeze", chosen, n.ints(2)), n.ints(1, 1, 12))
    tokens = n.op("GatherElements", x, chosen, axis=1)
    batch = n.op("Slice", n.op("Shape", "x"), n.ints(0), n.ints(1))
    queries = n.op("Expand", n.floats(1, 6, 12), n.op("Concat", batch, n.ints(1), n.ints(1), axis=0))
    q, k, v = n.op("MatMul", queries, n.floats(12, 8)), n.op("MatMul", tokens, n.floats(12, 8)), n.op("MatMul", tokens, n.floats(12, 10))
    weights = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    queries = n.op("Add", queries, n.op("MatMul", n.op("MatMul", weights, v), n.floats(10, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", queries, axes=[1], keepdims=0), 12, 5))


@model()
def products_with_channels_on_two_axes(n):
    x = n.op("Flatten", n.op("GlobalAveragePool", n.block("x", 3, 12)))
    step = n.op("Unsqueeze", n.op("Softplus", n.gemm(x, 12, 10)), n.ints(2))
    state = n.op("Unsqueeze", n.gemm(x, 12, 4), n.ints(1))
    decay = n.op("Exp", n.op("Mul", step, n.floats(10, 4, low=-1, high=0)))
    read = n.op("ReduceSum", n.op("Mul", n.op("Mul", step, state), decay), n.ints(2), keepdims=0)
    experts = n.op("Einsum", read, n.floats(10, 3, 8), equation="bi,ieo->beo")
    gate = n.op("Unsqueeze", n.op("Softmax", n.gemm(x, 12, 3), axis=1), n.ints(2))
    x = n.op("ReduceSum", n.op("Mul", n.op("Add", experts, n.floats(3, 8, low=-1, high=1)), gate), n.ints(1), keepdims=0)
    n.outputs.append(n.gemm(x, 8, 5))


@model()
def context_of_all_positions_with_a_norm_of_trailing_ones(n):
    x = n.block("x", 3, 12)
    mask = n.op("Softmax", n.op("Reshape", n.conv(x, 12, 1, kernel=1), n.ints(-1, 1, 256)), axis=2)
    flat = n.op("Unsqueeze", n.op("Reshape", x, n.ints(-1, 12, 256)), n.ints(1))
    context = n.op("MatMul", flat, n.op("Unsqueeze", mask, n.ints(3)))
    context = n.conv(n.op("Reshape", context, n.ints(-1, 12, 1, 1)), 12, 8, kernel=1)
    scale, bias = n.floats(8, 1, 1, low=0.5, high=1.5), n.floats(8, 1, 1, low=-0.5, high=0.5)
    context = n.relu(n.op("LayerNormalization", context, scale, bias, axis=-3))
    n.head(n.op("Add", x, n.conv(context, 8, 12, kernel=1)), 12)


@model(opset=19, ir_version=9)
def convolutions_at_computed_positions(n):
    x = n.block("x", 3, 12)
    offset, mask = n.conv(x, 12, 36), n.op("Sigmoid", n.conv(x, 12, 18))
    attributes = {"kernel_shape": [3, 3], "pads": [1] * 4, "offset_group": 2}
    x = n.relu(n.op("DeformConv", x, n.floats(10, 6, 3, 3), offset, n.floats(10, low=-1, high=1), mask, group=2, **attributes))
    n.head(n.block(x, 10, 8), 8)


@model(opset=25, ir_version=12)
def operator_set_25(n):
    x = n.op("Cast", n.op("Identity", n.block("x", 3, 12)), to=1)
    q = n.op("Reshape", n.conv(x, 12, 8, kernel=1), n.ints(0, 8, -1), allowzero=0)
    x = n.relu(n.conv(n.op("Pad", x, n.ints(0, 0, 1, 1, 0, 0, 1, 1)), 12, 16, pads=[0] * 4))
    x = n.op("Add", x, n.op("CastLike", n.floats(16, 1, 1, low=-1, high=1), x))
    y = n.gemm(n.op("ReduceMean", q, n.ints(2), keepdims=0), 8, 16)
    x = n.op("Mul", x, n.op("Unsqueeze", y, n.ints(2, 3)))
    n.outputs.append(n.gemm(n.op("Flatten", n.op("GlobalAveragePool", x)), 16, 5))


@model(domains=(MICROSOFT,))
def operators_that_the_runtime_fuses(n):
    def fused(op_type, *inputs, **attributes):
        return n.op(op_type, *inputs, domain=MICROSOFT, **attributes)

    def weights(*shape):
        return n.floats(*shape), n.floats(shape[0], low=-0.5, high=0.5)

    x = fused("FusedConv", "x", *weights(12, 3, 3, 3), activation="LeakyRelu", activation_params=[0.2], pads=[1] * 4)
    y = fused("FusedConv", x, *weights(12, 12, 3, 3), x, activation="Relu", pads=[1] * 4)
    x = fused("FusedConv", y, *weights(10, 12, 3, 3), activation="Clip", activation_params=[0.0, 6.0], pads=[1] * 4, strides=[4, 4])
    x = n.op("Transpose", n.op("Reshape", x, n.ints(-1, 10, 16)), perm=[0, 2, 1])
    q, k = n.op("MatMul", x, n.floats(10, 8)), fused("FusedMatMul", x, n.floats(8, 10), transB=1)
    weight = n.op("Softmax", fused("FusedMatMul", q, k, transB=1, alpha=0.4), axis=-1)
    y = n.op("MatMul", weight, n.op("MatMul", x, n.floats(10, 10)))
    norm = n.floats(10, low=0.5, high=1.5), n.floats(10, low=-0.5, high=0.5)
    x = fused("SkipLayerNormalization", y, x, *norm, n.floats(10, low=-0.5, high=0.5), epsilon=1e-5)
    x = n.op("ReduceMean", x, axes=[1], keepdims=0)
    n.outputs.append(fused("FusedGemm", x, *weights(5, 10), activation="Tanh", transB=1))


def one_of(n, shape, axis):
    return n.op("Gather", shape, n.const(numpy.int64(axis)))


def listed(n, *sizes):
    parts = [n.ints(size) if isinstance(size, int) else n.op("Unsqueeze", size, n.ints(0)) for size in sizes]
    return n.op("Concat", *parts, axis=0)


@model()
def patches_that_are_merged_with_the_batch(n):
    x = n.block("x", 3, 12)
    shape = n.op("Shape", x)
    batch, channels = one_of(n, shape, 0), one_of(n, shape, 1)
    merged = n.op("Mul", n.op("Mul", batch, channels), n.const(numpy.int64(8)))
    patches = n.op("Transpose", n.op("Reshape", x, listed(n, merged, 2, 8, 2)), perm=[0, 2, 1, 3])
    patches = n.op("Transpose", n.op("Reshape", patches, listed(n, batch, channels, 64, 4)), perm=[0, 3, 2, 1])
    tokens = n.op("Reshape", patches, listed(n, n.op("Mul", batch, n.const(numpy.int64(4))), 64, -1))
    tokens = n.op("Add", tokens, n.op("MatMul", n.relu(n.op("MatMul", tokens, n.floats(12, 10))), n.floats(10, 12)))
    x = n.op("Transpose", n.op("Reshape", tokens, listed(n, batch, 4, 64, -1)), perm=[0, 3, 2, 1])
    x = n.op("Transpose", n.op("Reshape", x, listed(n, merged, 8, 2, 2)), perm=[0, 2, 1, 3])
    x = n.op("Reshape", x, listed(n, batch, channels, 16, 16))
    n.head(n.block(x, 12, 8), 8)


@model()
def channels_that_attend_to_each_other(n):
    x = n.block("x", 3, 12, kernel=4, strides=[4, 4], pads=[0] * 4)
    table = n.conv(n.floats(1, 6, 4, 4), 6, 12, kernel=1)
    batch = one_of(n, n.op("Shape", "x"), 0)
    x = n.op("Add", x, n.op("Tile", table, listed(n, batch, 1, 1, 1)))
    x = n.op("Transpose", n.op("Reshape", x, n.ints(-1, 12, 16)), perm=[0, 2, 1])
    packed = n.op("Reshape", n.op("MatMul", x, n.floats(12, 36)), n.ints(-1, 16, 3, 4, 3))
    parts = n.op("Split", n.op("Transpose", packed, perm=[2, 0, 3, 4, 1]), n.ints(1, 1, 1), axis=0, outputs=3)
    q, k, v = (n.op("Squeeze", part, n.ints(0)) for part in parts)

    def unit(part):
        norm = n.op("Clip", n.op("ReduceL2", part, axes=[-1], keepdims=1), n.const(numpy.float32(1e-12)))
        return n.op("Div", part, n.op("Expand", norm, n.op("Shape", part)))

    product = n.op("MatMul", unit(q), n.op("Transpose", unit(k), perm=[0, 1, 3, 2]))
    weight = n.op("Softmax", n.op("Mul", product, n.floats(4, 1, 1, low=0.5, high=1.5)), axis=-1)
    y = n.op("Reshape", n.op("Transpose", n.op("MatMul", weight, v), perm=[0, 3, 1, 2]), n.ints(-1, 16, 12))
    x = n.op("Add", x, n.op("MatMul", y, n.floats(12, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model()
def statistics_of_groups_that_are_expanded_again(n):
    x = n.conv("x", 3, 12)
    groups = n.op("Reshape", x, n.ints(-1, 4, 3, 16, 16))
    centred = n.op("Sub", groups, n.op("ReduceMean", groups, axes=[2, 3, 4]))
    variance = n.op("ReduceMean", n.op("Mul", centred, centred), axes=[2, 3, 4])
    deviation = n.op("Sqrt", n.op("Add", variance, n.const(numpy.float32(1e-5))))
    deviation = n.op("Reshape", n.op("Expand", deviation, n.ints(1, 1, 3, 16, 16)), n.ints(-1, 12, 16, 16))
    gated = n.op("Mul", x, n.op("Sigmoid", n.op("Mul", x, n.floats(1, 12, 1, 1, low=0.5, high=1.5))))
    x = n.op("Mul", n.op("Div", gated, deviation), n.floats(1, 12, 1, 1, low=0.5, high=1.5))
    x = n.op("Add", x, n.floats(1, 12, 1, 1, low=-0.5, high=0.5))
    n.head(n.block(x, 12, 8), 8)


@model()
def queries_that_are_repeated_for_every_window(n):
    x = n.block("x", 3, 12)
    windows = n.op("Transpose", n.op("Reshape", x, n.ints(-1, 12, 2, 8, 2, 8)), perm=[0, 2, 4, 3, 5, 1])
    windows = n.op("Reshape", windows, n.ints(-1, 64, 12))
    query = n.op("Reshape", n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), n.ints(-1, 12, 64))
    query = n.op("Transpose", query, perm=[0, 2, 1])
    times = n.op("Div", one_of(n, n.op("Shape", windows), 0), one_of(n, n.op("Shape", query), 0))
    repeats = n.op("OneHot", n.ints(1), n.const(numpy.int64(4)), listed(n, 1, times))
    repeats = n.op("Reshape", repeats, n.ints(-1))
    query = n.op("Reshape", n.op("Tile", n.op("Unsqueeze", query, n.ints(1)), repeats), n.ints(-1, 64, 12))
    q, k, v = n.op("MatMul", query, n.floats(12, 8)), n.op("MatMul", windows, n.floats(12, 8)), n.op("MatMul", windows, n.floats(12, 10))
    weight = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    windows = n.op("Add", windows, n.op("MatMul", n.op("MatMul", weight, v), n.floats(10, 12)))
    x = n.op("Transpose", n.op("Reshape", windows, n.ints(-1, 2, 2, 8, 8, 12)), perm=[0, 5, 1, 3, 2, 4])
    n.head(n.op("Reshape", x, n.ints(-1, 12, 16, 16)), 12)
