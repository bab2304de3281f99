"""Cuts a module in place by a plan."""

import hashlib
import json
import pathlib

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from graphprune.files import BridgeError, parent, read, tensors
from graphprune.names import Binding, Link, bind, out_axis

VERSION = 1
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []))


class Zero(nn.Module):
    """The place of a layer in a removed branch: zeros of the layer's output shape."""

    def __init__(self, layer, channels):
        super().__init__()
        self.channels, self.axes, self.up = channels, [], isinstance(layer, _ConvTransposeNd)
        for axis, kernel in enumerate(getattr(layer, "kernel_size", ())):
            reach, padding = layer.dilation[axis] * (kernel - 1) + 1, layer.padding
            around = {"same": reach - 1, "valid": 0}[padding] if isinstance(padding, str) else 2 * padding[axis]
            self.axes.append((layer.stride[axis], reach - around + (layer.output_padding[axis] if self.up else 0)))

    def forward(self, x):
        ends = x.dim() - len(self.axes)
        sizes = [(size - 1) * stride + reach if self.up else (size - reach) // stride + 1
                 for size, (stride, reach) in zip(x.shape[ends:], self.axes)]
        return x.new_zeros((*x.shape[:ends - 1], self.channels, *sizes))


class Cutter:
    """The indices that the tensors of a module keep. A tied tensor is cut once."""

    def __init__(self, module):
        self.named, self.modules, self.keep = tensors(module), dict(module.named_modules()), {}
        self.names = {id(tensor): name for name, tensor in self.named.items()}

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
            keep = self.kept(self.named[weight], out_axis(self.modules[parent(weight)]))
            for tensor in vectors(self.modules[norm]) if keep is not None else ():
                self.crop(tensor, 0, keep)
        for norm in [layer for layer in self.modules.values() if isinstance(layer, NORMS)]:
            found = [keep for keep in (self.kept(tensor, 0) for tensor in vectors(norm)) if keep is not None]
            for tensor in vectors(norm) if found else ():
                self.crop(tensor, 0, found[0])

    def adapt(self, path, layer):
        """Sets the attributes that state sizes, while the layer's parameters are still whole."""
        weight = getattr(layer, "weight", None)
        if id(weight) not in self.keep:
            return
        axes, before = self.keep[id(weight)], weight.shape
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
        for path, layer in self.modules.items():
            self.adapt(path, layer)
        for identity, axes in self.keep.items():
            tensor = self.named[self.names[identity]]
            for axis, keep in axes.items():
                tensor.data = tensor.data.index_select(axis, torch.tensor(keep, device=tensor.device))
            tensor.grad = None


def vectors(layer):
    """The parameters and buffers with a value for each channel."""
    return [tensor for tensor in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)) if tensor.dim() == 1]


def groups(path, channels, keep, number):
    """The number of groups that keep a channel. Each of these must keep as many."""
    kept = torch.tensor(list(range(channels) if keep is None else keep)) * number // channels
    counts = kept.unique(return_counts=True)[1].tolist()
    if len(set(counts)) != 1:
        raise BridgeError(f"the groups of '{path}' keep different numbers of channels: {counts}")
    return len(counts)


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
    """Cuts `module` in place: parameters, buffers and the attributes that state their sizes. It computes then what the file
    does that graphprune wrote with `plan`: a run's folder, a plan file, or its content. Create an optimiser afterwards.

    `onnx`, the file that was pruned, is needed if its initializers are not named as the module's parameters, if BatchNorms are
    folded in it, and for `load`. The module must have the weights that it was exported with. Returns the module."""
    if not isinstance(plan, dict):
        path = pathlib.Path(plan)
        plan = json.loads((path / "plan.json" if path.is_dir() else path).read_text())
    if plan.get("version") != VERSION:
        raise BridgeError(f"the plan's version is {plan.get('version')}, this package reads {VERSION}")
    if placed := plan.get("placed"):
        raise BridgeError(f"{placed[0]} slides along the channels, and reads zeros for the dropped ones in the cut file")
    gone = [entry for branch in plan["removed"] for entry in branch["parameters"]]
    binding, cutter = resolve(module, plan, plan["parameters"] + gone, onnx), Cutter(module)
    gone = [entry for entry in gone if entry["name"] in binding.links]
    for entry in gone + [entry for entry in plan["parameters"] if entry["name"] in binding.links]:
        link = binding.links[entry["name"]]
        for axis in [axis for axis in entry["axes"] if axis["axis"] in link.order]:
            cutter.crop(cutter.named[link.tensor], link.order.index(axis["axis"]), axis["keep"])
    cutter.follow([(binding.links[weight].tensor, norm) for weight, norm in binding.norms.items()])
    dropped = {binding.links[entry["name"]].tensor for entry in gone}
    binding.links = {name: link for name, link in binding.links.items() if link.tensor not in dropped}
    removed = {cutter.modules[parent(name)] for name in dropped}
    removed |= {cutter.modules[binding.norms[entry["name"]]] for entry in gone if entry["name"] in binding.norms}
    cutter.write()
    for whole in cutter.modules.values():
        for name, part in [(name, part) for name, part in whole._modules.items() if part in removed]:
            if isinstance(part, (_ConvNd, nn.Linear)):
                whole._modules[name] = Zero(part, part.out_channels if isinstance(part, _ConvNd) else part.out_features)
            elif isinstance(part, (*NORMS, nn.PReLU)):
                whole._modules[name] = nn.Identity()
    module.graphprune = None if onnx is None else binding
    return module
