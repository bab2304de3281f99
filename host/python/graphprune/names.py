"""Finds the module's tensor behind each constant of an ONNX file: by name, or by value, also folded with a BatchNorm."""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from graphprune.files import LAYERS, BridgeError, parent, tensors


@dataclass
class Link:
    """A constant's tensor. `order` has for each axis of the tensor the constant's axis, or None for one of size 1."""

    tensor: str
    order: tuple

    def view(self, constant, shape):
        """The constant as a tensor of the module; None if it has other sizes."""
        axes = [axis for axis in self.order if axis is not None]
        moved = constant.permute(axes + [axis for axis in range(constant.dim()) if axis not in axes])
        return moved.reshape(shape) if [n for n in moved.shape if n != 1] == [n for n in shape if n != 1] else None


@dataclass
class Binding:
    """A file's constants: their tensors, for a layer's weight the path of the BatchNorm behind it, and those without."""

    links: dict = field(default_factory=dict)
    norms: dict = field(default_factory=dict)
    unbound: dict = field(default_factory=dict)


def orders(constant, shape):
    """The ways to see a constant's shape as a tensor's."""
    if list(constant) == list(shape):
        yield tuple(range(len(shape)))
    theirs, ours = ([axis for axis, size in enumerate(sizes) if size != 1] for sizes in (constant, shape))
    for axes in (theirs, theirs[::-1]):
        if [constant[axis] for axis in axes] == [shape[axis] for axis in ours]:
            yield tuple(axes[ours.index(axis)] if axis in ours else None for axis in range(len(shape)))


def out_axis(layer):
    """The axis of a layer's weight that makes its output channels."""
    return 1 if isinstance(layer, _ConvTransposeNd) else 0


def scale_of(layer, folded):
    """The factor per output channel from a layer's weight to its folded form; None if that is of another layer."""
    ours, theirs = (value.double().movedim(out_axis(layer), 0).flatten(1) for value in (layer.weight.detach().cpu(), folded))
    scale = (ours * theirs).sum(1) / (ours * ours).sum(1).clamp_min(1e-300)
    apart = (theirs - scale[:, None] * ours).abs().amax(1)
    return scale if (apart <= 1e-5 * theirs.abs().amax(1)).all() else None


def explains(norm, layer, scale, bias):
    """Whether a BatchNorm behind `layer` gives it this factor and bias when it is folded."""
    if norm.running_var is None or not norm.num_features == len(scale) == bias.numel():
        return False
    weight, shift, own = (torch.full_like(scale, default) if tensor is None else tensor.detach().double().cpu()
                          for tensor, default in ((norm.weight, 1), (norm.bias, 0), (layer.bias, 0)))
    gain, mean = weight / (norm.running_var.double().cpu() + norm.eps).sqrt(), norm.running_mean.double().cpu()
    apart, terms = bias.double() - (own - mean) * gain - shift, (own.abs() + mean.abs()) * gain.abs() + shift.abs()
    scaled = (scale == 0) | ((scale - gain).abs() <= 1e-5 * gain.abs())  # a filter of zeros has no factor
    return bool((scaled & (apart.abs() <= 1e-5 * terms + 1e-9)).all())


def sole(found, name):
    if len(found) > 1:
        raise BridgeError(f"'{name}' fits several by value: {', '.join(found)}. Export it with names, by graphprune.export")
    return found[0]


def bind(module, nodes, constants):
    """Finds the tensor of every constant that has one."""
    binding, named, modules = Binding(), tensors(module), dict(module.named_modules())
    values = {name: tensor.detach().cpu() for name, tensor in named.items()}
    layers = {name: modules[parent(name)] for name in named
              if name.endswith("weight") and isinstance(modules[parent(name)], (_ConvNd, nn.Linear))}
    batch_norms = {path: norm for path, norm in modules.items() if isinstance(norm, _BatchNorm)}
    biases = {node.input[1]: node.input[2] for node in nodes if node.op_type in LAYERS and len(node.input) == 3}
    for name, constant in constants.items():
        if name in binding.links:
            continue
        candidates = [name] if name in named else tensors(module, duplicates=False)
        links = [Link(path, order) for path in candidates for order in orders(constant.shape, named[path].shape)]
        views = [(link, values[link.tensor], link.view(constant, named[link.tensor].shape)) for link in links]
        equal = {link.tensor: link for link, value, view in reversed(views) if torch.equal(view, value)}
        equal = {path: link for path, link in equal.items() if path not in constants} or equal  # named elsewhere
        if equal:
            binding.links[name] = equal[sole(list(equal), name)]
            continue
        bias, folded = constants.get(biases.get(name)), {}
        for link, _, view in views if bias is not None else ():
            layer = layers.get(link.tensor)
            scale = None if layer is None else scale_of(layer, view)
            fits = [path for path, norm in batch_norms.items() if scale is not None and explains(norm, layer, scale, bias)]
            folded.update({link.tensor: (link, fits)} if fits else {})
        if not folded:
            binding.unbound[name] = constant
            continue
        weight = sole(list(folded), name)
        binding.links[name], norm = folded[weight][0], sole(folded[weight][1], name)
        binding.norms[name], own = norm, layers[weight].bias is not None
        binding.links[biases[name]] = Link(weight.removesuffix("weight") + "bias" if own else f"{norm}.bias", (0,))
        binding.unbound.pop(biases[name], None)
    producers = {value: node for node in nodes for value in node.output}
    for node in nodes:
        layer = producers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        found = [binding.links[name].tensor for name in node.input[1:] if name in binding.links]
        if found and layer is not None and layer.op_type in LAYERS:
            binding.norms[layer.input[1]] = parent(found[0])
    return binding
