"""Models of make_models.py: images whose size is left open, and the lists of sizes that exporters compute for them."""

import numpy
from fused_models import MICROSOFT, classified, tokens
from model_net import model

OPEN = ("N", 3, "H", "W")


def size(n, x, axis):
    return n.op("Gather", n.op("Shape", x), n.const(numpy.int64(axis)))


def listed(n, *sizes):
    """A list of sizes, each a scalar that is computed or a list of constants."""
    parts = [n.op("Unsqueeze", s, n.ints(0)) if s.startswith("t") else s for s in sizes]
    return n.op("Concat", *parts, axis=0)


def halved(n, x, axis):
    return n.op("Div", size(n, x, axis), n.const(numpy.int64(2)))


def grouped(n, x, channels, groups):
    """A group normalisation as PyTorch exports it."""
    y = n.op("Reshape", x, n.ints(0, groups, -1))
    one, zero = numpy.ones(groups, "f4"), numpy.zeros(groups, "f4")
    y = n.op("InstanceNormalization", y, n.const(one), n.const(zero))
    y = n.op("Mul", n.op("Reshape", y, n.op("Shape", x)), n.floats(channels, 1, 1, low=0.5, high=1.5))
    return n.op("Add", y, n.floats(channels, 1, 1, low=-0.5, high=0.5))


@model(input_shape=OPEN)
def groups_of_an_open_image(n):
    x = n.conv("x", 3, 12, strides=[2, 2])
    x = n.op("Add", x, n.conv(n.relu(grouped(n, x, 12, 1)), 12, 12))
    n.head(n.relu(grouped(n, n.conv(x, 12, 16), 16, 4)), 16)


@model(input_shape=OPEN)
def patches_of_an_open_image(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    batch, h, w, two, wide = size(n, x, 0), halved(n, x, 2), halved(n, x, 3), n.ints(2), n.ints(12)
    y = n.op("Transpose", n.op("Reshape", x, listed(n, batch, wide, h, two, w, two)), perm=[0, 1, 3, 5, 2, 4])
    flat = listed(n, batch, wide, n.ints(4), n.op("Mul", h, w))
    y = n.op("Reshape", y, flat)
    q, k, v = n.op("Split", n.conv(grouped(n, y, 12, 1), 12, 25, kernel=1), n.ints(1, 12, 12), outputs=3, axis=1)
    context = n.op("ReduceSum", n.op("Mul", k, n.op("Softmax", q, axis=-1)), n.ints(-1), keepdims=1)
    y = n.op("Add", y, n.conv(n.op("Mul", n.relu(v), n.op("Expand", context, flat)), 12, 12, kernel=1))
    y = n.op("Transpose", n.op("Reshape", y, listed(n, batch, wide, two, two, h, w)), perm=[0, 1, 4, 2, 5, 3])
    n.head(n.block(n.op("Reshape", y, listed(n, batch, wide, size(n, x, 2), size(n, x, 3))), 12, 10), 10)


@model(input_shape=OPEN)
def windows_of_an_open_image(n):
    x = n.op("Transpose", n.block("x", 3, 12, strides=[2, 2]), perm=[0, 2, 3, 1])
    batch, h, w, two, wide = size(n, x, 0), halved(n, x, 1), halved(n, x, 2), n.ints(2), size(n, x, 3)
    y = n.op("Transpose", n.op("Reshape", x, listed(n, batch, h, two, w, two, wide)), perm=[0, 1, 3, 2, 4, 5])
    y = n.op("Reshape", y, listed(n, n.ints(-1), n.ints(4), wide))
    q, k, v = (n.op("MatMul", y, n.floats(12, c)) for c in (8, 8, 14))
    scores = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    y = n.op("MatMul", n.op("MatMul", scores, v), n.floats(14, 12))
    y = n.op("Transpose", n.op("Reshape", y, listed(n, batch, h, w, two, two, wide)), perm=[0, 1, 3, 2, 4, 5])
    y = n.op("Reshape", y, listed(n, batch, size(n, x, 1), size(n, x, 2), wide))
    n.head(n.block(n.op("Transpose", n.op("Add", x, y), perm=[0, 3, 1, 2]), 12, 10), 10)


@model(input_shape=OPEN)
def an_open_image_that_is_padded_to_a_multiple(n):
    def missing(axis):
        eight = n.const(numpy.int64(8))
        return n.op("Mod", n.op("Sub", eight, n.op("Mod", size(n, x, axis), eight)), eight)

    x = n.block("x", 3, 12, strides=[2, 2])
    y = n.op("Pad", x, listed(n, n.ints(0, 0, 0, 0, 0, 0), missing(2), missing(3)))
    ends = listed(n, size(n, x, 2), size(n, x, 3))
    y = n.op("Slice", n.conv(y, 12, 12), n.ints(0, 0), ends, n.ints(2, 3))
    n.head(n.block(n.op("Add", x, y), 12, 10), 10)


@model(input_shape=OPEN)
def an_open_image_beside_a_table_of_positions(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    sides = n.op("Slice", n.op("Shape", x), n.ints(2), n.ints(4))
    table = n.op("Resize", n.floats(1, 12, 4, 4), "", "", n.op("Concat", n.ints(1, 12), sides, axis=0), mode="linear")
    gate = n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", x), 12, 12, kernel=1))
    whole = listed(n, size(n, x, 0), n.ints(12), size(n, x, 2), size(n, x, 3))
    x = n.op("Mul", n.op("Add", x, table), n.op("Expand", gate, whole))
    n.head(n.block(n.op("Add", x, n.op("Abs", n.op("Expand", gate, whole))), 12, 10), 10)


@model(input_shape=OPEN)
def rows_and_columns_of_an_open_image(n):
    x = n.block("x", 3, 12, strides=[2, 2])
    rows = n.op("ReduceMean", x, axes=[3], keepdims=1)
    columns = n.op("Transpose", n.op("ReduceMean", x, axes=[2], keepdims=1), perm=[0, 1, 3, 2])
    y = n.relu(n.conv(n.op("Concat", rows, columns, axis=2), 12, 8, kernel=1))
    rows, columns = n.op("Split", y, listed(n, size(n, x, 2), size(n, x, 3)), axis=2, outputs=2)
    columns = n.op("Transpose", columns, perm=[0, 1, 3, 2])
    for part in (rows, columns):
        x = n.op("Mul", x, n.op("Sigmoid", n.conv(part, 8, 12, kernel=1)))
    n.head(n.block(x, 12, 10), 10)


def turned(n, domain, x, inputs, **attributes):
    return n.op("RotaryEmbedding", x, *inputs, **({"domain": domain} if domain else {}), **attributes)


def attended(n, x, q, k, v, channels):
    scores = n.op("Softmax", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    y = n.op("Transpose", n.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = n.op("Reshape", y, n.ints(0, 64, channels))
    return n.op("Add", x, n.op("MatMul", y, n.floats(channels, 12)))


def heads(n, x, count):
    return n.op("Transpose", n.op("Reshape", x, n.ints(0, 64, count, -1)), perm=[0, 2, 1, 3])


def angles(n, width):
    table = numpy.outer(numpy.arange(64), 0.5 ** numpy.arange(width // 2)).astype("f4")
    return [n.const(numpy.cos(table)), n.const(numpy.sin(table))]


@model(opset=23, ir_version=11)
def positions_that_turn_pairs(n):
    x, (q, k, v) = tokens(n, 12, (24, 24, 18))
    batch = n.op("Slice", n.op("Shape", x), n.ints(0), n.ints(1))
    numbers = n.op("Expand", n.const(numpy.arange(64)[None]), n.op("Concat", batch, n.ints(64), axis=0))
    inputs = [*angles(n, 8), numbers]
    q, k = (turned(n, "", heads(n, part, 3), inputs, rotary_embedding_dim=8) for part in (q, k))
    x = attended(n, x, q, k, heads(n, v, 3), 18)
    q, k, v = (n.op("MatMul", x, n.floats(12, c)) for c in (12, 12, 10))
    q, k = (heads(n, turned(n, "", part, [*angles(n, 6), numbers], num_heads=2, interleaved=1), 2) for part in (q, k))
    classified(n, attended(n, x, q, k, heads(n, v, 2), 10), 12)


@model(domains=(MICROSOFT,))
def positions_that_the_runtime_turns(n):
    x, (q, k, v) = tokens(n, 12, (24, 24, 18))
    inputs = [n.ints(0), *angles(n, 8)]
    q, k = (turned(n, MICROSOFT, heads(n, part, 3), inputs, interleaved=1) for part in (q, k))
    x = attended(n, x, q, k, heads(n, v, 3), 18)
    q, k, v = (n.op("MatMul", x, n.floats(12, c)) for c in (12, 12, 10))
    q, k = (heads(n, turned(n, MICROSOFT, part, [n.ints(0), *angles(n, 6)]), 2) for part in (q, k))
    x = attended(n, x, q, k, heads(n, v, 2), 10)
    n.outputs.append(n.gemm(n.op("ReduceMean", x, axes=[1], keepdims=0), 12, 5))


@model(domains=(MICROSOFT,))
def weights_of_four_and_eight_bits(n):
    x = n.relu(n.gemm(n.op("Flatten", n.op("GlobalAveragePool", n.block("x", 3, 12))), 12, 64))
    for bits, out, shape in ((4, 64, (64, 2)), (8, 24, (48,))):
        packed = n.const(n.rng.integers(0, 256, (out, 2, 4 * bits)).astype("u1"))
        inputs = [x, packed, n.floats(*shape, low=0.01, high=0.02)]
        if bits == 4:
            inputs.append(n.const(n.rng.integers(0, 256, (64, 1)).astype("u1")))
        x = n.op("MatMulNBits", *inputs, domain=MICROSOFT, K=64, N=out, bits=bits, block_size=32)
        x = n.relu(n.op("Add", x, n.floats(out, low=-0.5, high=0.5)))
    n.outputs.append(n.gemm(x, 24, 5))


@model()
def convolutions_of_integers_in_groups(n):
    x = n.block("x", 3, 12)
    for inputs, out, groups in ((12, 16, 4), (16, 16, 16), (16, 32, 16), (32, 10, 2)):
        quantised, scale, zero = n.op("DynamicQuantizeLinear", x, outputs=3)
        w = n.const(n.rng.integers(-100, 100, (out, inputs // groups, 3, 3)).astype("i1"))
        y = n.op("Cast", n.op("ConvInteger", quantised, w, zero, pads=[1] * 4, group=groups), to=1)
        y = n.op("Mul", y, n.op("Mul", scale, n.const(numpy.array(0.004, "f4"))))
        x = n.relu(n.op("Add", y, n.floats(out, 1, 1, low=-0.5, high=0.5)))
    n.head(x, 10)
