"""Models for make_models.py: attentions in one operator, and forms that tf2onnx and PyTorch's newest exporter write."""

import numpy
from model_net import model

MICROSOFT = "com.microsoft"


def tokens(n, channels, out):
    """The positions of a map as tokens, and their channels last."""
    x = n.op("Reshape", n.block("x", 3, channels, strides=[2, 2]), n.ints(0, channels, 64))
    x = n.op("Transpose", x, perm=[0, 2, 1])
    return x, [n.op("MatMul", x, n.floats(channels, size)) for size in out]


def classified(n, x, channels):
    n.outputs.append(n.gemm(n.op("ReduceMean", x, n.ints(1), keepdims=0), channels, 5))


@model(opset=23, ir_version=11)
def attentions_in_one_operator(n):
    x, parts = tokens(n, 12, (16, 16, 24))
    heads = [n.op("Reshape", p, n.ints(0, 64, 4, -1)) for p in parts]
    q, k, v = (n.op("Transpose", p, perm=[0, 2, 1, 3]) for p in heads)
    seen = n.const(numpy.tri(64, 64, 5, dtype=bool).reshape(1, 1, 64, 64))
    y = n.op("Attention", q, k, v, seen)
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.ints(0, 64, 24))
    x = n.op("Add", x, n.op("MatMul", y, n.floats(24, 12)))
    q, k, v = (n.op("MatMul", x, n.floats(12, size)) for size in (16, 16, 20))
    y = n.op("Attention", q, k, v, n.floats(64, 64), q_num_heads=2, kv_num_heads=2, scale=0.3)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(20, 12)))
    q, k, v = (n.op("MatMul", x, n.floats(12, 8)) for _ in range(3))
    y = n.op("Attention", q, k, v, q_num_heads=2, kv_num_heads=2, is_causal=1)
    classified(n, n.op("Add", x, n.op("MatMul", y, n.floats(8, 12))), 12)


@model(domains=(MICROSOFT,))
def attentions_that_the_runtime_fuses(n):
    x, (q, k, v) = tokens(n, 12, (16, 16, 16))
    bias = n.floats(48, low=-0.5, high=0.5)
    y = n.op("MultiHeadAttention", q, k, v, bias, num_heads=4, domain=MICROSOFT)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(16, 12)))
    bias = n.floats(36, low=-0.5, high=0.5)
    y = n.op("Attention", x, n.floats(12, 36), bias, num_heads=3, scale=0.4, domain=MICROSOFT)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(12, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model()
def recurrent_layers_of_which_the_last_states_are_read(n):
    x = n.op("Reshape", n.block("x", 3, 12, strides=[4, 4]), n.ints(0, 12, 16))
    x = n.op("Transpose", x, perm=[2, 0, 1])
    y = n.op("LSTM", x, n.floats(2, 40, 12), n.floats(2, 40, 10), outputs=3, hidden_size=10, direction="bidirectional")[0]
    n.nodes[-1].output[0], n.nodes[-1].output[1] = "", y
    n.nodes[-1].output.pop()
    y = n.op("Reshape", n.op("Transpose", y, perm=[1, 0, 2]), n.ints(0, -1))
    z = n.op("GRU", x, n.floats(1, 24, 12), n.floats(1, 24, 8), outputs=2, hidden_size=8)[0]
    n.nodes[-1].output[0], n.nodes[-1].output[1] = "", z
    y = n.op("Concat", y, n.op("Squeeze", z, n.ints(0)), axis=1)
    n.outputs.append(n.gemm(y, 28, 5))


@model()
def transposed_convolutions_by_the_size_of_their_output(n):
    x = n.block("x", 3, 12, strides=[4, 4])
    x = n.relu(n.op("ConvTranspose", x, n.floats(12, 10, 3, 3), strides=[2, 2], output_shape=[8, 8]))
    x = n.relu(n.op("ConvTranspose", x, n.floats(10, 8, 4, 4), strides=[2, 2], auto_pad="SAME_UPPER"))
    x = n.relu(n.op("ConvTranspose", x, n.floats(8, 8, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"))
    x = n.relu(n.op("ConvTranspose", x, n.floats(8, 6, 2, 2), strides=[3, 3], output_shape=[96, 96]))
    n.head(x, 6)


@model()
def means_over_channels_by_pools_of_all_positions(n):
    x, (y,) = tokens(n, 12, (16,))
    centred = n.op("Sub", y, n.op("GlobalAveragePool", y))
    variance = n.op("GlobalAveragePool", n.op("Mul", centred, centred))
    y = n.op("Div", centred, n.op("Sqrt", n.op("Add", variance, n.const(numpy.float32(1e-3)))))
    y = n.op("Add", n.op("Mul", y, n.floats(1, 1, 16, low=0.5, high=1.5)), n.op("GlobalMaxPool", y))
    x = n.op("Add", x, n.op("MatMul", y, n.floats(16, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model()
def matrices_that_are_merged_by_computed_sizes(n):
    x, parts = tokens(n, 12, (16, 16, 24))
    heads = [n.op("Reshape", p, n.ints(-1, 64, 4, size)) for p, size in zip(parts, (4, 4, 6))]
    q, k, v = (n.op("Transpose", p, perm=perm) for p, perm in zip(heads, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))

    def leading(part):
        return n.op("Gather", n.op("Shape", part), n.ints(0, 1))

    def merged(part):
        last = n.op("Gather", n.op("Shape", part), n.ints(3))
        size = n.op("Concat", n.op("ReduceProd", leading(part), keepdims=1), n.ints(-1), last, axis=0)
        return n.op("Reshape", part, size)

    def apart(part, left, right, rest):
        return n.op("Reshape", part, n.op("Concat", n.op("Max", leading(left), leading(right)), n.ints(*rest), axis=0))

    weight = n.op("Softmax", apart(n.op("MatMul", merged(q), merged(k)), q, k, (64, 64)), axis=-1)
    y = apart(n.op("MatMul", merged(weight), merged(v)), weight, v, (64, -1))
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.ints(-1, 64, 24))
    x = n.op("Add", x, n.op("MatMul", y, n.floats(24, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model()
def a_table_of_positions_that_is_resized(n):
    x = n.op("Transpose", n.block("x", 3, 12), perm=[0, 2, 3, 1])
    scales = n.const(numpy.array([1, 1, 16 / 7, 16 / 7], "f4"))
    table = n.op("Resize", n.floats(1, 12, 7, 7), "", scales, mode="cubic")
    table = n.op("Transpose", n.op("Add", table, n.floats(1, 12, 16, 16)), perm=[0, 2, 3, 1])
    x = n.op("Transpose", n.op("Add", x, table), perm=[0, 3, 1, 2])
    n.head(n.block(x, 12, 10), 10)


@model()
def groups_of_a_convolution_and_of_its_normalisation(n):
    x = n.block("x", 3, 8)
    y = n.conv(x, 8, 16, kernel=1)
    for _ in range(2):
        groups = n.op("Reshape", y, n.ints(-1, 4, 4, 16, 16))
        centred = n.op("Sub", groups, n.op("ReduceMean", groups, axes=[2, 3, 4]))
        variance = n.op("ReduceMean", n.op("Mul", centred, centred), axes=[2, 3, 4])
        deviation = n.op("Sqrt", n.op("Add", variance, n.const(numpy.float32(1e-5))))
        deviation = n.op("Reshape", n.op("Expand", deviation, n.ints(1, 1, 4, 16, 16)), n.ints(-1, 16, 16, 16))
        y = n.op("Mul", n.op("Div", y, deviation), n.floats(1, 16, 1, 1, low=0.5, high=1.5))
        y = n.conv(y, 16, 16, group=4)
    x = n.op("Add", x, n.conv(y, 16, 8, kernel=1))
    n.head(n.block(x, 8, 10), 10)
