"""Takes the weights of a pruned file into the module that was cut."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from graphprune.files import LAYERS, BridgeError, read, tensors


@torch.no_grad()
def load(module, onnx):
    """Copies the weights of `onnx`, which graphprune wrote, into `module`, which `cut` cut by the same plan. A BatchNorm that is
    folded in the file becomes the identity of evaluation mode. Returns the module; after an error it is unchanged."""
    binding = getattr(module, "graphprune", None)
    if binding is None:
        raise BridgeError("the module was not cut with the ONNX file that was pruned: graphprune.cut(module, plan, onnx)")
    (nodes, constants), named, modules = read(onnx), tensors(module), dict(module.named_modules())
    found, added, wrong = {}, [], []
    for name, constant in constants.items():
        link, before = binding.links.get(name), binding.unbound.get(name)
        if link is not None and link.tensor in named:
            if constant.numel() == named[link.tensor].numel():
                found[link.tensor] = link.view(constant, named[link.tensor].shape)
            else:
                wrong.append(f"'{name}' is {list(constant.shape)} and the module's {list(named[link.tensor].shape)}")
        elif link is None and before is not None and not torch.equal(before.unique(), constant.unique()):
            wrong.append(f"'{name}' differs from the given file's, and is no tensor of the module")
    for node in [node for node in nodes if node.op_type in LAYERS and node.input[1] in binding.links]:
        path = binding.links[node.input[1]].tensor.rpartition(".")[0]
        layer, norm = modules[path], modules.get(binding.norms.get(node.input[1]))
        bias = constants.get(node.input[2]) if len(node.input) == 3 and node.input[2] not in binding.links else None
        prefix = binding.norms.get(node.input[1])
        if isinstance(norm, _BatchNorm) and not {f"{prefix}.running_mean", f"{prefix}.running_var"} & set(found):
            one, shift = torch.ones_like(norm.running_var), found.get(f"{prefix}.bias", bias)
            found.update({f"{prefix}.running_mean": one * 0, f"{prefix}.running_var": one - norm.eps})
            if norm.affine:
                found.update({f"{prefix}.weight": one, f"{prefix}.bias": one * 0 if shift is None or layer.bias is not None else shift})
                bias = bias if layer.bias is not None else None
        if bias is not None and layer.bias is not None:
            found[path + "." * bool(path) + "bias"] = bias
        elif bias is not None:
            added.append((layer, bias))
    reached = {id(named[name]) for name in found}
    linked = {link.tensor for link in binding.links.values()}
    wrong += [f"it has no '{name}'" for name, tensor in named.items() if id(tensor) not in reached and name in linked]
    if wrong:
        raise BridgeError(f"{onnx} does not fit the module: {'; '.join(wrong)}")
    for name, value in found.items():
        named[name].copy_(value.reshape(named[name].shape))
    for layer, bias in added:
        layer.bias = nn.Parameter(bias.to(layer.weight))
    return module
