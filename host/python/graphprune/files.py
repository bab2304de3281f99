"""Reads the nodes and constants of ONNX files, and writes files that keep the names of a module."""

import torch

LAYERS = ("Conv", "ConvTranspose", "Gemm")
# Operators that a constant may pass without another value.
MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


class BridgeError(ValueError):
    """The module, the plan and the file do not belong together, or a part of them is not supported."""


def read(path):
    """The nodes of a file, and its constants of floats by name, with those that are only moved."""
    try:
        import numpy
        import onnx
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise BridgeError("an ONNX file is read with the package onnx: pip install graphprune[onnx]") from error
    graph = onnx.load(str(path)).graph
    constants = {constant.name: onnx.numpy_helper.to_array(constant) for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = [onnx.numpy_helper.to_array(part.t) if part.name == "value" else numpy.array(part.ints)
                      for part in node.attribute if part.name in ("value", "value_ints")]
            constants.update(zip(node.output, values))
        elif node.op_type in MOVES and all(name in constants for name in node.input):
            inputs = {name: constants[name] for name in node.input}
            constants.update(zip(node.output, ReferenceEvaluator(node).run(None, inputs)))
    return list(graph.node), {name: torch.from_numpy(value.copy()) for name, value in constants.items() if value.dtype.kind == "f"}


def tensors(module, duplicates=True):
    """The parameters and buffers of floats by name; without `duplicates`, the first name of each."""
    found = dict(module.named_parameters(remove_duplicate=not duplicates))
    found.update(module.named_buffers(remove_duplicate=not duplicates))
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def export(module, args, path, **options):
    """Writes `module` in evaluation mode to `path`, traced with `args`. Initializers have the names of the module's parameters,
    BatchNorms stay, and nothing is folded. `options` go to torch.onnx.export, such as `input_names` and `dynamic_axes`; the opset
    is 17 by default. Raises BridgeError if the exporter merges parameters of equal value."""
    training = {part: part.training for part in module.modules()}
    module.eval()
    given = {"dynamo": False, "opset_version": 17, "do_constant_folding": False,
             "training": torch.onnx.TrainingMode.PRESERVE, **options}
    try:
        torch.onnx.export(module, args if isinstance(args, tuple) else (args,), str(path), **given)
    finally:
        for part, mode in training.items():
            part.training = mode
    constants, named = read(path)[1], tensors(module)
    merged = [f"'{name}' and '{other}'" for name, tensor in named.items() if name not in constants
              for other, value in constants.items() if value.shape == tensor.shape and named.get(other) is not tensor
              and torch.equal(value, tensor.detach().cpu())]
    if merged:
        raise BridgeError(f"parameters of equal value are one in the file: {'; '.join(merged[:4])}. Train or initialise them first")
