"""Lets Torch-Pruning choose the channels of an ONNX network, and writes its choice as a plan for `graphprune prune --compare-plan`.

    torch_pruning_plan.py MODEL OUT RATIO IMPORTANCE SCOPE ROUNDING LAYERS [DATA]

MODEL is an ONNX file whose BatchNorms are kept. RATIO is the share of channels that go. IMPORTANCE is `magnitude` or `taylor`, SCOPE
`local` (the share of every layer) or `global` (of all layers together), ROUNDING the
multiple that a layer keeps its channels in. LAYERS is a file with the names of the convolutions whose
outputs may be pruned, one a line. `taylor` needs DATA, a folder with CIFAR-10 in its binary format.
"""

import json
import pathlib
import sys
import warnings

import numpy
import onnx
import onnx2torch
import torch
import torch_pruning

IMAGES = 512
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(folder):
    """The first training images and their labels, normalised."""
    records = numpy.fromfile(pathlib.Path(folder) / "data_batch_1.bin", numpy.uint8).reshape(-1, 3073)[:IMAGES]
    pixels = torch.tensor(records[:, 1:].reshape(-1, 3, 32, 32) / 255.0, dtype=torch.float32)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return (pixels - mean) / deviation, torch.tensor(records[:, 0], dtype=torch.long)


def accumulate_gradients(network, folder):
    x, labels = images(folder)
    for batch, expected in zip(x.split(128), labels.split(128)):
        torch.nn.functional.cross_entropy(network(batch), expected).backward()


def module_name(node):
    """The name that onnx2torch gives to the module of a node."""
    return node.strip("/").replace(".", "/")


def dropped_channels(network, pruner):
    """Per layer with weights the output channels that one step of the pruner drops, by the layer's name."""
    names = {module: name for name, module in network.named_modules()}
    dropped = {}
    for group in pruner.step(interactive=True):
        for dependency, indices in group:
            module = dependency.target.module
            is_output = dependency.handler in (
                torch_pruning.prune_conv_out_channels,
                torch_pruning.prune_depthwise_conv_out_channels,
                torch_pruning.prune_linear_out_channels,
            )
            if is_output and module in names:
                dropped.setdefault(names[module], set()).update(indices)
    return dropped


def main():
    path, out, ratio, importance, scope, rounding, layers = sys.argv[1:8]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model = onnx.load(path)
    network = onnx2torch.convert(model).eval()
    allowed = {module_name(name) for name in pathlib.Path(layers).read_text().splitlines()}
    modules = dict(network.named_modules())
    ignored = [
        module
        for name, module in modules.items()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) and name not in allowed
    ]
    sizes = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    if importance == "taylor":
        accumulate_gradients(network, sys.argv[8])
    criteria = {
        "magnitude": torch_pruning.importance.GroupMagnitudeImportance,
        "taylor": torch_pruning.importance.GroupTaylorImportance,
    }
    pruner = torch_pruning.pruner.BasePruner(
        network,
        torch.zeros(sizes),
        importance=criteria[importance](),
        pruning_ratio=float(ratio),
        # A layer without channels would end the network.
        max_pruning_ratio=0.95,
        round_to=int(rounding),
        global_pruning=scope == "global",
        ignored_layers=ignored,
    )
    dropped = dropped_channels(network, pruner)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    parameters = []
    for node in model.graph.node:
        gone = dropped.get(module_name(node.name))
        if not gone:
            continue
        weight = node.input[1]
        keep = [index for index in range(shapes[weight][0]) if index not in gone]
        pruned_shape = [len(keep)] + shapes[weight][1:]
        axes = [{"axis": 0, "keep": keep}]
        parameters.append({"name": weight, "shape": shapes[weight], "pruned_shape": pruned_shape, "axes": axes})
    if not parameters:
        print("nothing is dropped")
    pathlib.Path(out).write_text(json.dumps({"version": 1, "parameters": parameters}, indent=1))


if __name__ == "__main__":
    main()
