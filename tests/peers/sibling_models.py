"""Further models of make_models.py: rarer forms of operators that other models have in their usual ones."""

import numpy
from onnx import TensorProto, helper

from fused_models import MICROSOFT, classified, tokens
from model_net import model


@model(opset=18)
def resizes_of_stated_axes(n):
    factors = n.const(numpy.array([2, 1.5], "f4"))
    x = n.op("Resize", n.block("x", 3, 12, strides=[2, 2]), "", factors, mode="linear", axes=[3, 2])
    x = n.op("Resize", n.block(x, 12, 10), "", "", n.ints(9, 13), mode="nearest", axes=[-1, -2])
    half = n.const(numpy.array([1, 1, 0.5, 0.5], "f4"))
    x = n.op("Resize", n.block(x, 10, 14), "", half, mode="linear", antialias=1)
    n.head(n.block(x, 14, 8), 8)


@model(input_shape=("N", 6, 8))
def sequences_in_sums_of_products(n):
    x = n.op("Einsum", "x", n.floats(8, 12), equation="btc,cd->btd")
    x = n.op("Add", x, n.op("Einsum", x, n.floats(6, 6), equation="btd,ts->bsd"))
    n.outputs.append(n.op("Einsum", n.relu(x), n.floats(12, 5), equation="btd,dk->bk"))


@model(input_shape=("N", 8))
def the_largest_of_several_features(n):
    x = n.op("Reshape", n.gemm("x", 8, 24), n.ints(0, 12, 2))
    x = n.gemm(n.op("ReduceMax", x, axes=[2], keepdims=0), 12, 30)
    x = n.op("ReduceSum", n.op("Reshape", x, n.ints(0, 3, 10)), n.ints(1), keepdims=0)
    n.outputs.append(n.gemm(x, 10, 5))


@model()
def kernels_of_two_sizes_in_one(n):
    x = n.block("x", 3, 12)
    small = n.op("Pad", n.floats(10, 12, 1, 1), n.ints(0, 0, 1, 1, 0, 0, 1, 1))
    kernel, bias = n.op("Add", n.floats(10, 12, 3, 3), small), n.op("Add", n.floats(10), n.floats(10))
    n.head(n.relu(n.op("Conv", x, kernel, bias, pads=[1] * 4)), 10)


@model(opset=9)
def a_recurrent_layer_behind_a_map_that_grows(n):
    x = n.block("x", 3, 12, strides=[4, 4])
    x = n.op("Upsample", x, n.const(numpy.array([1, 1, 2, 2], "f4")), mode="nearest")
    x = n.op("Squeeze", n.op("MaxPool", n.block(x, 12, 10), kernel_shape=[8, 1]), axes=[2])
    x = n.op("Transpose", x, perm=[2, 0, 1])
    y = n.op("LSTM", x, n.floats(1, 24, 10), n.floats(1, 24, 6), hidden_size=6, outputs=2)[1]
    n.outputs.append(n.gemm(n.op("Squeeze", y, axes=[0]), 6, 5))


@model()
def a_branch_within_a_branch_that_is_known(n):
    def graph(name, nodes, output):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])

    x = n.op("GlobalAveragePool", n.block(n.block("x", 3, 12), 12, 10))
    last = n.op("Gather", n.op("Shape", x), n.const(numpy.int64(3)), axis=0)
    one = n.op("Equal", last, n.const(numpy.int64(1)))
    yes = n.const(numpy.array(True))
    inner = graph("inner", [helper.make_node("Squeeze", ["row", n.ints(-1)], ["vector"])], "vector")
    other = graph("other", [helper.make_node("Identity", ["row"], ["kept"])], "kept")
    taken = [
        helper.make_node("Squeeze", [x, n.ints(3)], ["row"]),
        helper.make_node("If", [yes], ["both"], then_branch=inner, else_branch=other),
    ]
    left = graph("left", [helper.make_node("Identity", [x], ["whole"])], "whole")
    y = n.op("If", one, then_branch=graph("taken", taken, "both"), else_branch=left)
    n.outputs.append(n.gemm(y, 10, 5))


@model()
def a_table_that_is_read_transposed_as_well(n):
    x = n.op("Reshape", n.op("ReduceMean", n.block("x", 3, 12), axes=[2, 3], keepdims=0), n.ints(0, 12))
    table = n.const(n.rng.standard_normal((5, 8)).astype("f4"), name="table")
    brightest = n.op("ArgMax", n.op("ReduceMean", "x", axes=[2, 3], keepdims=0), axis=1, keepdims=0)
    row = n.op("Gather", table, brightest, axis=0)
    x = n.op("MatMul", n.relu(n.gemm(x, 12, 10)), n.floats(10, 8))
    y = n.op("MatMul", x, n.op("Transpose", table, perm=[1, 0]))
    n.outputs.append(n.op("Add", y, n.op("ReduceMean", row, axes=[1])))


@model(domains=(MICROSOFT,))
def attentions_that_hide_keys(n):
    shown = n.op("ReduceMean", n.op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2]), axes=[1], keepdims=0)
    shown = n.op("Greater", n.op("Reshape", shown, n.ints(0, 64)), n.const(numpy.array(0.0, "f4")))
    shown = n.op("Cast", shown, to=TensorProto.INT32)
    lengths = n.op("ReduceSum", shown, n.ints(1), keepdims=0)
    x, (q, k, v) = tokens(n, 12, (16, 16, 24))
    bias = n.floats(56, low=-0.5, high=0.5)
    y = n.op("MultiHeadAttention", q, k, v, bias, shown, n.floats(1, 4, 64, 64), num_heads=4, domain=MICROSOFT)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(24, 12)))
    bias = n.floats(42, low=-0.5, high=0.5)
    sizes = {"num_heads": 3, "qkv_hidden_sizes": [12, 12, 18], "domain": MICROSOFT}
    y = n.op("Attention", x, n.floats(12, 42), bias, lengths, mask_filter_value=-50.0, **sizes)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(18, 12)))
    y = n.op("Attention", x, n.floats(12, 42), bias, shown, unidirectional=1, **sizes)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(18, 12)))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model(opset=23, ir_version=11)
def heads_of_queries_that_share_keys(n):
    x, (q, k, v) = tokens(n, 12, (16, 8, 12))
    y = n.op("Attention", q, k, v, q_num_heads=4, kv_num_heads=2)
    x = n.op("Add", x, n.op("MatMul", y, n.floats(24, 12)))
    q, k, v = (n.op("MatMul", x, n.floats(12, size)) for size in (16, 4, 4))
    q, k, v = (n.op("Reshape", p, n.ints(0, 64, heads, 4)) for p, heads in ((q, 4), (k, 1), (v, 1)))
    q, k, v = (n.op("Transpose", p, perm=[0, 2, 1, 3]) for p in (q, k, v))
    y = n.op("Attention", q, k, v, n.const(numpy.tri(64, dtype=bool)))
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), n.ints(0, 64, 16))
    x = n.op("Add", x, n.op("MatMul", y, n.floats(16, 12)))
    classified(n, x, 12)


@model(opset=13)
def layers_of_integers_whose_scales_are_found(n):
    def product(x, inputs, out, zeros):
        q, scale, zero = n.op("DynamicQuantizeLinear", x, outputs=3)
        weight = n.const(n.rng.integers(0, 255, (inputs, out)).astype("u1"))
        y = n.op("MatMulInteger", q, weight, zero, n.const(zeros.astype("u1")))
        scale = n.op("Mul", scale, n.floats(*zeros.shape, low=0.002, high=0.004))
        return n.op("Add", n.op("Mul", n.op("Cast", y, to=TensorProto.FLOAT), scale), n.floats(out, low=-0.5, high=0.5))

    x = n.op("MaxPool", n.block("x", 3, 12), kernel_shape=[8, 8], strides=[8, 8])
    q, scale, zero = n.op("DynamicQuantizeLinear", x, outputs=3)
    y = n.op("ConvInteger", q, n.const(n.rng.integers(-99, 99, (14, 12, 1, 1)).astype("i1")), zero)
    y = n.op("Mul", n.op("Cast", y, to=TensorProto.FLOAT), n.op("Mul", scale, n.const(numpy.array(0.01, "f4"))))
    y = n.op("Add", y, n.floats(1, 14, 1, 1))
    x = n.op("Flatten", n.op("GlobalMaxPool", n.relu(y)))
    x = n.relu(product(x, 14, 16, numpy.array(120)))
    n.outputs.append(n.gemm(n.relu(product(x, 16, 10, n.rng.integers(110, 140, 10))), 10, 5))


@model(opset=13)
def lists_of_values(n):
    def at(values, i):
        return n.op("SequenceAt", values, n.const(numpy.int64(i)))

    x = n.block("x", 3, 12)
    y = n.block(x, 12, 10)
    values = n.op("SequenceInsert", n.op("SequenceConstruct", x), y)
    x = n.op("ConcatFromSequence", values, axis=1)
    parts = n.op("SplitToSequence", x, n.ints(8, 8, 6), axis=1)
    x = n.op("Mul", at(parts, 0), n.op("Sigmoid", at(parts, -2)))
    values = n.op("SequenceInsert", n.op("SequenceEmpty"), n.conv(x, 8, 8))
    values = n.op("SequenceInsert", values, x, n.const(numpy.int64(0)))
    x = n.op("ReduceMax", n.op("ConcatFromSequence", values, axis=0, new_axis=1), axes=[0], keepdims=0)
    maps = n.op("SplitToSequence", n.op("Reshape", x, n.ints(0, 2, 4, 16, 16)), axis=1, keepdims=0)
    count = n.op("Cast", n.op("SequenceLength", maps), to=TensorProto.FLOAT)
    n.head(n.op("Div", n.op("Add", at(maps, 0), at(maps, 1)), count), 4)


@model(input_shape=("N", 6), element=TensorProto.INT64)
def words_and_their_positions(n):
    def norm(x):
        return n.op("LayerNormalization", x, n.floats(16, low=0.5, high=1.5), n.floats(16, low=-0.5, high=0.5))

    words = n.op("Gather", n.floats(256, 16), "x")
    length = n.op("Slice", n.op("Shape", "x"), n.ints(1), n.ints(2))
    positions = n.op("Slice", n.const(numpy.arange(9)[None]), n.ints(0), length, n.ints(1))
    x = n.op("Add", words, n.op("Gather", n.floats(9, 16), positions))
    x = norm(n.op("Add", x, n.op("Sin", n.op("Slice", n.floats(1, 9, 16), n.ints(0), length, n.ints(1)))))
    y = n.op("MatMul", n.relu(n.op("MatMul", x, n.floats(16, 24))), n.floats(24, 16))
    n.outputs.append(n.gemm(n.op("ReduceMean", norm(n.op("Add", x, y)), axes=[1], keepdims=0), 16, 5))


@model(input_shape=("N", 8))
def matrices_on_the_left(n):
    x = n.relu(n.gemm("x", 8, 12))
    x = n.relu(n.op("Gemm", n.floats(12, 10), x, n.floats(10, 1), transA=1, transB=1))
    x = n.relu(n.op("Add", n.op("MatMul", n.floats(14, 10), x), n.floats(14, 1)))
    n.outputs.append(n.op("Gemm", x, n.floats(14, 5), n.floats(5), transA=1))


@model(opset=14, input_shape=("N", "L", 8))
def lists_of_sizes_that_layers_share(n):
    lists = {}

    def rows(x, inputs, out):
        y = n.gemm(n.op("Reshape", x, n.ints(-1, inputs)), inputs, out)
        if out not in lists:
            lists[out] = n.op("Concat", n.op("Slice", n.op("Shape", x), n.ints(0), n.ints(2)), width[out], axis=0)
        return n.op("Reshape", y, lists[out])

    width = {size: n.ints(size) for size in (16, 24)}
    x = rows("x", 8, 16)
    for _ in range(2):
        x = n.op("Add", x, rows(n.op("Tanh", rows(x, 16, 24)), 24, 16))
    single = [n.op("Unsqueeze", n.op("Gather", n.op("Shape", x), n.const(numpy.int64(i))), n.ints(0)) for i in (0, 1)]
    y = n.gemm(n.op("Reshape", x, n.ints(-1, 16)), 16, 24)
    x = n.op("MatMul", n.relu(n.op("Reshape", y, n.op("Concat", *single, width[24], axis=0))), n.floats(24, 12))
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model(opset=21, ir_version=10)
def integers_of_16_bits(n):
    scale, zero = n.const(numpy.array(0.001, "f4")), n.const(numpy.array(7, "i2"))
    x = n.block("x", 3, 12)
    x = n.op("DequantizeLinear", n.op("QuantizeLinear", x, scale, zero), scale, zero)
    x = n.block(x, 12, 10)
    scales, zeros = n.floats(10, low=0.001, high=0.002), n.const(numpy.arange(10, dtype="u2"))
    x = n.op("QuantizeLinear", n.op("MaxPool", x, kernel_shape=[16, 16]), scales, zeros, axis=1)
    x = n.op("DequantizeLinear", x, scales, zeros, axis=-3)
    n.outputs.append(n.gemm(n.op("Flatten", x), 10, 5))
