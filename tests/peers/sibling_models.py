"""Further models of make_models.py: rarer forms of operators that other models have in their usual ones."""

import numpy
from onnx import TensorProto, helper

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
