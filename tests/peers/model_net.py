"""The builder of the models in make_models.py."""

import collections
import zlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS = {}


def model(opset=17, ir_version=8, input_shape=("N", 3, 16, 16), domains=(), element=TensorProto.FLOAT):
    def register(function):
        MODELS[function.__name__] = (function, opset, ir_version, list(input_shape), domains, element)
        return function

    return register


Reference = collections.namedtuple("Reference", "name type")


class Net:
    """A graph under construction: every method appends a node and returns the name of its output."""

    def __init__(self, name, opset, input_shape):
        self.rng = numpy.random.default_rng(zlib.crc32(name.encode()))
        self.opset = opset
        self.nodes, self.initializers, self.outputs, self.functions = [], [], [], []
        self.input_shape = input_shape
        self.count = 0

    def fresh(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def const(self, array, name=None):
        name = name or self.fresh("c")
        self.initializers.append(numpy_helper.from_array(numpy.asarray(array), name))
        return name

    def ints(self, *values):
        return self.const(numpy.array(values, numpy.int64))

    def floats(self, *shape, low=None, high=None):
        if low is not None:
            return self.const(self.rng.uniform(low, high, shape).astype("f4"))
        fan_in = max(1, int(numpy.prod(shape[1:])))
        return self.const((self.rng.standard_normal(shape) * (2 / fan_in) ** 0.5).astype("f4"))

    def op(self, op_type, *inputs, outputs=1, name=None, **attributes):
        results = [self.fresh("t") for _ in range(outputs)]
        name = name if name is not None else f"{op_type.lower()}_{self.count}"
        self.nodes.append(helper.make_node(op_type, list(inputs), results, name=name, **attributes))
        return results[0] if outputs == 1 else results

    def function(self, name, inputs, outputs, nodes, opset=None, attributes=(), defaults=None):
        """Defines a function of the domain "net"; each node is (operator or own function, inputs, output, attributes). An
        attribute that is a Reference is one of the function's."""
        made = []
        for op_type, reads, writes, given in nodes:
            domain = "net" if op_type in {f.name for f in self.functions} else ""
            made.append(helper.make_node(op_type, reads.split(), [writes], domain=domain))
            for key, value in given.items():
                if isinstance(value, Reference):
                    value = onnx.AttributeProto(name=key, ref_attr_name=value.name, type=value.type)
                else:
                    value = helper.make_attribute(key, value)
                made[-1].attribute.append(value)
        imports = [helper.make_opsetid("", opset or self.opset), helper.make_opsetid("net", 1)]
        defaults = [helper.make_attribute(key, value) for key, value in (defaults or {}).items()]
        self.functions.append(
            helper.make_function("net", name, inputs.split(), outputs.split(), made, imports, list(attributes), defaults)
        )

    def conv(self, x, inputs, out, kernel=3, group=1, bias=True, **attributes):
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [kernel // 2] * 4)
        weights = [self.floats(out, inputs // group, kernel, kernel)]
        if bias:
            weights.append(self.floats(out, low=-0.5, high=0.5))
        return self.op("Conv", x, *weights, group=group, **attributes)

    def bn(self, x, c, **attributes):
        scale, bias = self.floats(c, low=0.5, high=1.5), self.floats(c, low=-0.5, high=0.5)
        mean, var = self.floats(c, low=-0.5, high=0.5), self.floats(c, low=0.5, high=1.5)
        return self.op("BatchNormalization", x, scale, bias, mean, var, **attributes)

    def relu(self, x):
        return self.op("Relu", x)

    def block(self, x, inputs, out, **attributes):
        return self.relu(self.conv(x, inputs, out, **attributes))

    def gemm(self, x, inputs, out, **attributes):
        attributes.setdefault("transB", 1)
        shape = (out, inputs) if attributes["transB"] else (inputs, out)
        return self.op("Gemm", x, self.floats(*shape), self.floats(out, low=-0.5, high=0.5), **attributes)

    def head(self, x, c, classes=5):
        x = self.op("Flatten", self.op("GlobalAveragePool", x))
        self.outputs.append(self.gemm(x, c, classes))


def write(name, directory):
    function, opset, ir_version, input_shape, domains, element = MODELS[name]
    net = Net(name, opset, input_shape)
    function(net)
    # ONNX infers no shape behind an operator of another domain, and its checker wants one on every output.
    shape = ["N", 5] if domains else None
    result = element if element == TensorProto.FLOAT16 else TensorProto.FLOAT
    graph = helper.make_graph(
        net.nodes,
        name,
        [helper.make_tensor_value_info("x", element, input_shape)],
        [helper.make_tensor_value_info(o, result, shape) for o in net.outputs],
        net.initializers,
    )
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in domains]
    made = helper.make_model(graph, opset_imports=imports, ir_version=ir_version, functions=net.functions)
    made = onnx.shape_inference.infer_shapes(made)
    if not domains:
        onnx.checker.check_model(made, full_check=True)
    if "H" in input_shape:
        # Exporters state no sizes that depend on an open one, and a name of its own for each would not last.
        del made.graph.value_info[:]
    onnx.save(made, directory / f"{name}.onnx")
