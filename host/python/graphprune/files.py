"""ONNX files: reads their nodes and constants, takes weights from them, and writes files that keep the names of a module."""

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
        from onnx.numpy_helper import to_array
        from onnx.reference import ReferenceEvaluator
    except ImportError as error:
        raise BridgeError("an ONNX file is read with the package onnx: pip install graphprune[onnx]") from error
    graph = onnx.load(str(path)).graph
    constants = {constant.name: to_array(constant) for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = [to_array(part.t) if part.name == "value" else numpy.array(part.ints) for part in node.attribute]
            constants.update(zip(node.output, values))
        elif node.op_type in MOVES and all(name in constants for name in node.input):
            moved = ReferenceEvaluator(node).run(None, {name: constants[name] for name in node.input})
            constants.update(zip(node.output, moved))
    floats = {name: torch.from_numpy(value.copy()) for name, value in constants.items() if value.dtype.kind == "f"}
    return list(graph.node), floats


def tensors(module, duplicates=True):
    """The parameters and buffers of floats by name; without `duplicates`, the first name of each."""
    found = dict(module.named_parameters(remove_duplicate=not duplicates))
    found.update(module.named_buffers(remove_duplicate=not duplicates))
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def parent(name):
    """The path of the module that a tensor belongs to."""
    return name.rpartition(".")[0]


def export(module, args, path, **options):
    """Writes `module` in evaluation mode to `path`, traced with `args`. Initializers have the parameters' names, BatchNorms
    stay, and nothing is folded. `options` go to torch.onnx.export, such as `input_names` and `dynamic_axes`; the opset is 17
    by default. Raises BridgeError if the exporter merges parameters of equal value."""
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
        raise BridgeError(f"parameters of equal values are one in the file: {'; '.join(merged[:4])}")


@torch.no_grad()
def load(module, onnx):
    """Copies the weights of `onnx`, which graphprune wrote, into `module`, which `cut` cut by the same plan. A BatchNorm that
    is folded in the file becomes the identity of evaluation mode. Returns the module; after an error it is unchanged."""
    binding = getattr(module, "graphprune", None)
    if binding is None:
        raise BridgeError("the module was not cut with the ONNX file that was pruned: graphprune.cut(module, plan, onnx)")
    (nodes, constants), named, modules = read(onnx), tensors(module), dict(module.named_modules())
    found, added, wrong = {}, [], []
    for name, constant in constants.items():
        link, before = binding.links.get(name), binding.unbound.get(name)
        if link is not None and link.tensor in named:
            found[link.tensor] = link.view(constant, named[link.tensor].shape)
            if found[link.tensor] is None:
                wrong.append(f"'{name}' is {list(constant.shape)} and the module's {list(named[link.tensor].shape)}")
        elif link is None and before is not None and not torch.equal(before.unique(), constant.unique()):
            wrong.append(f"'{name}' differs from the given file's, and is no tensor of the module")
    for node in [node for node in nodes if node.op_type in LAYERS and node.input[1] in binding.links]:
        path, prefix = parent(binding.links[node.input[1]].tensor), binding.norms.get(node.input[1])
        layer, norm = modules[path], modules.get(prefix)
        bias = constants.get(node.input[2]) if len(node.input) == 3 and node.input[2] not in binding.links else None
        if hasattr(norm, "running_var") and not {f"{prefix}.running_mean", f"{prefix}.running_var"} & set(found):
            one, shift = torch.ones_like(norm.running_var), found.get(f"{prefix}.bias", bias)
            found.update({f"{prefix}.running_mean": one * 0, f"{prefix}.running_var": one - norm.eps})
            if norm.affine:
                found[f"{prefix}.weight"], found[f"{prefix}.bias"] = one, one * 0
            if norm.affine and shift is not None and layer.bias is None:
                found[f"{prefix}.bias"], bias = shift, None
        if bias is not None and layer.bias is not None:
            found[path + "." * bool(path) + "bias"] = bias
        elif bias is not None:
            added.append((layer, bias))
    reached, linked = {id(named[name]) for name in found}, {link.tensor for link in binding.links.values()}
    wrong += [f"it has no '{name}'" for name, tensor in named.items() if id(tensor) not in reached and name in linked]
    if wrong:
        raise BridgeError(f"{onnx} does not fit the module: {'; '.join(wrong)}")
    for name, value in found.items():
        named[name].copy_(value.reshape(named[name].shape))
    for layer, bias in added:
        layer.bias = torch.nn.Parameter(bias.to(layer.weight))
    return module
