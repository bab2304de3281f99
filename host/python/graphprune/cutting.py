"""Cuts a module in place by a plan."""

import hashlib
import json
import pathlib

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from graphprune.files import BridgeError, read, tensors
from graphprune.names import Binding, Link, bind, out_axis

VERSION = 1
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))
# Their forward computes with sizes that are stated apart from their parameters.
CLOSED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)


class Zero(nn.Module):
    """The place of a layer in a removed branch: zeros of the layer's output shape."""

    def __init__(self, layer, channels):
        super().__init__()
        self.channels, self.axes, self.grows = channels, None, None
        if isinstance(layer, _ConvNd):
            padding = [layer.padding] * len(layer.stride) if isinstance(layer.padding, str) else layer.padding
            self.axes = list(zip(layer.kernel_size, layer.stride, padding, layer.dilation))
            self.grows = layer.output_padding if isinstance(layer, _ConvTransposeNd) else None

    def size(self, axis, size):
        kernel, stride, padding, dilation = self.axes[axis]
        reach = dilation * (kernel - 1)
        if self.grows is not None:
            return (size - 1) * stride - 2 * padding + reach + self.grows[axis] + 1
        around = {"same": reach, "valid": 0}[padding] if isinstance(padding, str) else 2 * padding
        return (size + around - reach - 1) // stride + 1

    def forward(self, x):
        if self.axes is None:
            return x.new_zeros((*x.shape[:-1], self.channels))
        sides = [self.size(axis, size) for axis, size in enumerate(x.shape[-len(self.axes):])]
        return x.new_zeros((*x.shape[:-len(sides) - 1], self.channels, *sides))


class Cutter:
    """The indices that the tensors of a module keep. A tied tensor is cut once."""

    def __init__(self, module):
        self.named, self.modules, self.keep = tensors(module), dict(module.named_modules()), {}
        self.names = {id(tensor): name for name, tensor in self.named.items()}

    def owner(self, name):
        return self.modules[name.rpartition(".")[0]]

    def crop(self, tensor, axis, keep):
        name, axes = self.names[id(tensor)], self.keep.setdefault(id(tensor), {})
        if not 0 <= min(keep) <= max(keep) < tensor.shape[axis]:
            raise BridgeError(f"'{name}' of shape {list(tensor.shape)} has no index {max(keep)} on axis {axis}")
        if axes.setdefault(axis, keep) != keep:
            raise BridgeError(f"'{name}' is cut in two ways: it belongs to parts of the network that keep different channels")

    def kept(self, tensor, axis):
        return self.keep.get(id(tensor), {}).get(axis)

    def follow(self, norms):
        """Cuts what the file may not name: biases, and the rest of a BatchNorm that is folded."""
        for layer in self.modules.values():
            keep = self.kept(layer.weight, out_axis(layer)) if isinstance(layer, (_ConvNd, nn.Linear)) else None
            if keep is not None and layer.bias is not None and layer.weight.shape[out_axis(layer)] == len(layer.bias):
                self.crop(layer.bias, 0, keep)
        for weight, norm in norms:
            keep = self.kept(self.named[weight], out_axis(self.owner(weight)))
            for tensor in vectors(self.modules[norm]) if keep is not None else ():
                self.crop(tensor, 0, keep)
        for norm in self.modules.values():
            found = [self.kept(tensor, 0) for tensor in vectors(norm)] if isinstance(norm, NORMS) else []
            for keep in [keep for keep in found if keep is not None][:1]:
                for tensor in vectors(norm):
                    self.crop(tensor, 0, keep)

    def adapt(self, path, layer):
        """Sets the attributes that state sizes, while the layer's parameters are still whole."""
        cut = [key for key, tensor in layer.named_parameters(recurse=False) if id(tensor) in self.keep]
        if cut and isinstance(layer, CLOSED):
            raise BridgeError(f"'{path}' is a {type(layer).__name__}, whose forward states its sizes: it cannot be cut")
        if not torch.is_tensor(getattr(layer, "weight", None)) or "weight" not in cut:
            return
        axes, before = self.keep[id(layer.weight)], layer.weight.shape
        shape = [len(axes.get(axis, range(size))) for axis, size in enumerate(before)]
        if isinstance(layer, _ConvNd):
            layer.groups = groups(path, before[0], axes.get(0), layer.groups)
            ends = shape[0], shape[1] * layer.groups
            layer.out_channels, layer.in_channels = ends[::-1] if isinstance(layer, _ConvTransposeNd) else ends
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = shape
        elif isinstance(layer, _NormBase):
            layer.num_features = shape[0]
        elif isinstance(layer, nn.GroupNorm):
            layer.num_groups, layer.num_channels = groups(path, before[0], axes.get(0), layer.num_groups), shape[0]
        elif isinstance(layer, NORMS):
            layer.normalized_shape = tuple(shape)
        elif isinstance(layer, nn.PReLU):
            layer.num_parameters = shape[0]
        elif isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
            layer.num_embeddings, layer.embedding_dim = shape

    def write(self):
        for identity, axes in self.keep.items():
            tensor = self.named[self.names[identity]]
            for axis, keep in axes.items():
                tensor.data = tensor.data.index_select(axis, torch.tensor(keep, device=tensor.device))
            tensor.grad = None

    def refuse_folded(self):
        """Without the file, a BatchNorm that stays whole behind a layer that is cut may be folded in the file."""
        leaves = [(path, layer) for path, layer in self.modules.items() if not list(layer.children())]
        for (_, layer), (path, norm) in zip(leaves, leaves[1:]):
            if isinstance(layer, (_ConvNd, nn.Linear)) and isinstance(norm, _NormBase):
                cut = self.kept(layer.weight, out_axis(layer)) is not None
                if cut and layer.weight.shape[out_axis(layer)] == norm.num_features \
                        and all(self.kept(tensor, 0) is None for tensor in vectors(norm)):
                    raise BridgeError(f"the layer before '{path}' is cut, '{path}' is not in the plan: give the ONNX file, where it "
                                      "may be folded")


def vectors(layer):
    """The parameters and buffers with a value for each channel."""
    return [tensor for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)) if tensor.dim() == 1]


def groups(path, channels, keep, number):
    """The number of groups that keep a channel. Each of these must keep as many."""
    counts = [0] * number
    for index in range(channels) if keep is None else keep:
        counts[index * number // channels] += 1
    left = [count for count in counts if count]
    if len(set(left)) != 1:
        raise BridgeError(f"the groups of '{path}' keep different numbers of channels: {left}")
    return len(left)


def resolve(module, plan, entries, onnx):
    """The tensors of the plan's parameters."""
    if onnx is None:
        shapes = {name: list(tensor.shape) for name, tensor in tensors(module).items()}
        binding = Binding({entry["name"]: Link(entry["name"], tuple(range(len(entry["shape"])))) for entry in entries
                           if shapes.get(entry["name"]) == entry["shape"]})
        reason = "are not the name of a tensor of this shape: give the ONNX file, to find them by value"
    elif hashlib.sha256(pathlib.Path(onnx).read_bytes()).hexdigest() != plan["model_sha256"]:
        raise BridgeError(f"{onnx} is not the file that the plan is for, {plan['model']}")
    else:
        binding, reason = bind(module, *read(onnx)), "have the value of no tensor of the module, as it is or folded"
    # A constant of one value, such as the unit scale in front of a GroupNorm's, is no parameter: it is of the forward.
    plain = {name for name, constant in binding.unbound.items() if constant.unique().numel() == 1}
    lost = [f"'{entry['name']}' {entry['shape']}" for entry in entries if entry["name"] not in {*binding.links, *plain}]
    if lost:
        raise BridgeError(f"{len(lost)} of {len(entries)} parameters of the plan {reason}: {', '.join(lost)}")
    return binding


def cut(module, plan, onnx=None):
    """Cuts `module` in place: parameters, buffers and the attributes that state their sizes. It computes then what the file does
    that graphprune wrote with `plan`: a run's folder, a plan file, or its content. Create an optimiser afterwards.

    `onnx`, the file that was pruned, is needed if its initializers are not named as the module's parameters, if BatchNorms are
    folded in it, and for `load`. The module must have the weights that it was exported with. Returns the module."""
    if not isinstance(plan, dict):
        path = pathlib.Path(plan)
        plan = json.loads((path / "plan.json" if path.is_dir() else path).read_text())
    if plan.get("version") != VERSION:
        raise BridgeError(f"the plan's version is {plan.get('version')}, this package reads {VERSION}")
    gone = [entry for branch in plan["removed"] for entry in branch["parameters"]]
    binding, cutter = resolve(module, plan, plan["parameters"] + gone, onnx), Cutter(module)
    gone = [entry for entry in gone if entry["name"] in binding.links]
    for entry in gone + [entry for entry in plan["parameters"] if entry["name"] in binding.links]:
        link = binding.links[entry["name"]]
        for axis in [axis for axis in entry["axes"] if axis["axis"] in link.order]:
            cutter.crop(cutter.named[link.tensor], link.order.index(axis["axis"]), axis["keep"])
    cutter.follow([(binding.links[weight].tensor, norm) for weight, norm in binding.norms.items()])
    if onnx is None:
        cutter.refuse_folded()
    removed = {cutter.owner(binding.links[entry["name"]].tensor) for entry in gone}
    removed |= {cutter.modules[binding.norms[entry["name"]]] for entry in gone if entry["name"] in binding.norms}
    for path, layer in cutter.modules.items():
        cutter.adapt(path, layer)
    cutter.write()
    for parent in list(cutter.modules.values()):
        for name, child in [(name, child) for name, child in parent._modules.items() if child in removed]:
            if isinstance(child, (_ConvNd, nn.Linear)):
                parent._modules[name] = Zero(child, child.out_channels if isinstance(child, _ConvNd) else child.out_features)
            elif isinstance(child, (*NORMS, nn.PReLU)):
                parent._modules[name] = nn.Identity()
    module.graphprune = None if onnx is None else binding
    return module
