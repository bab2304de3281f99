"""Checks the Python package `graphprune` (host/python): a module cut by a plan computes what the cut ONNX file does.

    python bridge.py --graphprune PROGRAM [--table FILE] [NAME ...]

For each network and export: `graphprune apply` by a keep ratio, and, where branches can be removed, by widths with zeros; then
`cut`, and `load` of a file with other weights and its BatchNorms folded. Outputs are compared with ONNX Runtime's, relative to
the largest output. `--table` writes the differences as a table. Without names, all networks are checked: small ones of this
file, and some of torchvision and timm. The example of the package's README is run, too.
"""

import argparse
import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy
import onnx
import onnxruntime
import onnxscript
import torch
from torch import nn
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "host/python"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import graphprune  # noqa: E402

TOLERANCE = 1e-5
TORCHVISION = ("resnet18", "mobilenet_v2", "densenet121", "regnet_y_400mf", "deeplabv3_mobilenet_v3_large")
TIMM = ("timm.convnext_tiny",)
# Networks with branches that are removed by widths of zero.
REMOVABLE = ("residual", "transformer", "resnet18", "mobilenet_v2", "timm.convnext_tiny")
EXPORTS = ("names kept", "folded", "dynamo", "dynamo, folded")


class Residual(nn.Module):
    """Residual blocks: one with a convolution beside it, added in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.first = nn.ModuleList([nn.Conv2d(16, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24),
                                    nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32)])
        self.beside = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
        self.second = nn.Sequential(nn.Conv2d(32, 20, 3, padding="same"), nn.PReLU(20), nn.Conv2d(20, 32, 1),
                                    nn.GroupNorm(4, 32))
        self.up = nn.ConvTranspose2d(32, 12, 2, 2)
        self.last = nn.Linear(12, 10)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x)))
        conv, norm, again, other = self.first
        out = other(again(functional.relu(norm(conv(x)))))
        out += self.beside(x)
        x = functional.relu(out)
        x = x + self.second(x)
        return self.last(functional.relu(self.up(x)).mean((2, 3)))


class Depthwise(nn.Module):
    """Depthwise and grouped convolutions, a squeeze and excitation, and tied weights."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
            nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.Hardswish(),
            nn.Conv2d(32, 32, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.squeeze, self.excite = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.one = nn.Linear(32, 32)
        self.two = nn.Linear(32, 32)
        self.two.weight = self.one.weight
        self.last = nn.Linear(32, 10)

    def forward(self, x):
        x = self.layers(x)
        x = x * torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = x.mean((2, 3))
        return self.last(functional.relu(self.two(functional.relu(self.one(x)))))


class Transformer(nn.Module):
    """Attention with projections of its own, LayerNorms, an MLP and a scale per channel."""

    def __init__(self, size=32, heads=4):
        super().__init__()
        self.heads = heads
        self.embed = nn.Conv2d(3, size, 4, 4)
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.q, self.k, self.v, self.o = (nn.Linear(size, size) for _ in range(4))
        self.wide, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.gamma = nn.Parameter(torch.ones(size))
        self.last = nn.Linear(size, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        y = self.before(x)
        q, k, v = (part(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        attention = torch.softmax(q @ k.transpose(2, 3) / 2.8, -1)
        x = x + self.o((attention @ v).transpose(1, 2).flatten(2))
        x = x + self.gamma * self.narrow(functional.gelu(self.wide(self.between(x))))
        return self.last(x.mean(1))


SMALL = {"residual": Residual, "depthwise": Depthwise, "transformer": Transformer}


def build(name):
    if name not in SMALL:
        import export_zoo
        return export_zoo.build(name)
    torch.manual_seed(len(name))
    network = SMALL[name]()
    for parameter in network.parameters():
        parameter.data += torch.randn(parameter.shape) * 0.1
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def write(network, image, path, how):
    names = {"input_names": ["x"], "output_names": ["y"]}
    if how == "names kept":
        graphprune.export(network, image, path, **names)
    elif how == "folded":
        torch.onnx.export(network, (image,), str(path), dynamo=False, opset_version=17, **names)
    else:
        program = torch.onnx.export(network, (image,), dynamo=True, opset_version=18, optimize=how == "dynamo, folded",
                                    verbose=False, **names)
        # The exporter's own optimisation folds constants and BatchNorms, this one only constants.
        onnx.save(onnxscript.optimizer.optimize(program.model_proto) if how == "dynamo" else program.model_proto, str(path))


def outputs(path, image):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": image.numpy()})[0])


def apart(one, other):
    if one.shape != other.shape:
        raise SystemExit(f"outputs of shapes {list(one.shape)} and {list(other.shape)}")
    return ((one - other).abs().max() / other.abs().max()).item()


def tuned(source, target):
    """The file as a fine-tuning leaves it: other weights, by the names that it has."""
    model = onnx.load(str(source))
    generator = numpy.random.default_rng(1)
    sizes = {value for node in model.graph.node if node.op_type == "Resize" for value in node.input}
    for constant in model.graph.initializer:
        value = onnx.numpy_helper.to_array(constant)
        # What has one value throughout is a constant of the network.
        weight = constant.data_type == onnx.TensorProto.FLOAT and constant.name not in sizes
        if weight and (value != value.flat[0]).any():
            value = value * generator.uniform(0.8, 1.2, value.shape).astype(numpy.float32)
            constant.CopyFrom(onnx.numpy_helper.from_array(value, constant.name))
    onnx.save(model, str(target))


def folded(source, target):
    """Folds each BatchNorm into the convolution before it, as graphprune does before it writes a run's result."""
    model = onnx.load(str(source))
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    producers = {value: node for node in graph.node for value in node.output}
    readers = [value for node in graph.node for value in node.input]
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = producers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or readers.count(norm.input[0]) > 1 or readers.count(conv.input[1]) > 1:
            continue
        scale, shift, mean, variance, weight = (
            onnx.numpy_helper.to_array(constants[name]).astype(float) for name in (*norm.input[1:], conv.input[1]))
        epsilon = next((attribute.f for attribute in norm.attribute if attribute.name == "epsilon"), 1e-5)
        gain = scale / numpy.sqrt(variance + epsilon)
        has_bias = len(conv.input) == 3
        own = onnx.numpy_helper.to_array(constants[conv.input[2]]).astype(float) if has_bias else 0
        name = conv.input[2] if has_bias else f"{conv.name}_bias"
        made = {conv.input[1]: weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), name: (own - mean) * gain + shift}
        for key, value in made.items():
            if key not in constants:
                constants[key] = graph.initializer.add()
            constants[key].CopyFrom(onnx.numpy_helper.from_array(value.astype(numpy.float32), key))
        if not has_bias:
            conv.input.append(name)
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    kept = {value for node in graph.node for value in node.input}
    for constant in [constant for constant in graph.initializer if constant.name not in kept]:
        graph.initializer.remove(constant)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def widths(program, path):
    """Half of every group, and nothing of those that can be removed, from the second on."""
    listed = subprocess.run([program, "inspect", path], check=True, capture_output=True, text=True).stdout
    sizes = re.findall(r"^ +(\d+)  (.*)$", listed.split("prunable groups:")[1].split("pinned channels:")[0], re.MULTILINE)
    removable = [index for index, (_, text) in enumerate(sizes) if "can go as a whole" in text]
    return ",".join("0" if index in removable[::2] else str(max(1, int(size) // 2)) for index, (size, _) in enumerate(sizes))


def check(program, name, how, folder):
    """The differences per way to cut and load."""
    network = build(name)
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    path, cut = folder / "model.onnx", folder / "cut.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(network, image, path, how)
    ways = {"half": ["--keep", "0.5"]}
    if name in REMOVABLE:
        ways["branches removed"] = ["--widths", widths(program, path)]
    found = {}
    for way, keep in ways.items():
        plan = folder / "plan.json"
        subprocess.run([program, "apply", path, *keep, "--out", cut, "--write-plan", plan], check=True, capture_output=True)
        if way != "half":
            assert json.loads(plan.read_text())["removed"], f"{name}: no branch is removed"
        module = graphprune.cut(copy.deepcopy(network), plan, path)
        before = sum(parameter.numel() for parameter in network.parameters())
        assert sum(parameter.numel() for parameter in module.parameters()) < 0.7 * before, f"{name}: hardly smaller"
        with torch.no_grad():
            found[way] = apart(module(image), outputs(cut, image))
            names = [entry["name"] for entry in json.loads(plan.read_text())["parameters"]]
            if how == "names kept" and set(names) <= set(network.state_dict()):
                by_names = graphprune.cut(copy.deepcopy(network), plan)
                assert torch.equal(by_names(image), module(image)), f"{name}: the names say something else than the values"
            tuned(cut, folder / "tuned.onnx")
            folded(folder / "tuned.onnx", folder / "folded.onnx")
            graphprune.load(module, folder / "folded.onnx")
            found[f"{way}, loaded"] = apart(module(image), outputs(folder / "folded.onnx", image))
    return found


def example(program):
    """Runs the example of the package's README, with the program on PATH."""
    code = re.search("```python\n(.*?)```", (ROOT / "host/python/README.md").read_text(), re.DOTALL).group(1)
    here, path = os.getcwd(), os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["PATH"] = f"{pathlib.Path(program).resolve().parent}{os.pathsep}{path}"
        try:
            exec(compile(code, "README.md", "exec"), {})
        finally:
            os.chdir(here)
            os.environ["PATH"] = path


def refusals(folder):
    """What does not belong together is one error that names it, and changes nothing."""
    network, image = build("residual"), torch.ones(1, 3, 16, 16)
    path = folder / "model.onnx"
    write(network, image, path, "names kept")
    axes = [{"axis": 0, "keep": [0, 1]}]
    entry = {"name": "stem.weight", "shape": [16, 3, 3, 3], "pruned_shape": [2, 3, 3, 3], "axes": axes}
    plan = {"version": 1, "model": "model", "model_sha256": "00", "groups": [], "parameters": [entry], "removed": []}
    for change, onnx_file, reason in (({"version": 2}, None, "version is 2"), ({}, path, "is not the file"),
                                      ({"parameters": [{**entry, "name": "onnx::Conv_1"}]}, None, "'onnx::Conv_1'"),
                                      ({"parameters": [{**entry, "axes": [{"axis": 0, "keep": [16]}]}]}, None, "no index 16")):
        try:
            graphprune.cut(network, {**plan, **change}, onnx_file)
        except graphprune.BridgeError as error:
            assert reason in str(error), error
        else:
            raise AssertionError(f"'{reason}' is not refused")
        assert network.stem.weight.shape[0] == 16
    try:
        graphprune.load(network, path)
    except graphprune.BridgeError as error:
        assert "was not cut" in str(error)
    else:
        raise AssertionError("weights were loaded into a module that was not cut")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--graphprune", required=True)
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--export", action="append", choices=EXPORTS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = options.names or (*SMALL, *TORCHVISION, *TIMM)
    rows, failed = [], 0
    if not options.names:
        example(options.graphprune)
        with tempfile.TemporaryDirectory() as folder:
            refusals(pathlib.Path(folder))
    for name in names:
        for how in options.export or EXPORTS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found = check(options.graphprune, name, how, pathlib.Path(folder))
                except Exception as error:  # the others are checked, and the status says that one failed
                    print(f"{name}, {how}: {type(error).__name__}: {str(error)[:600]}", flush=True)
                    failed += 1
                    continue
            print(name, how, {way: f"{value:.1e}" for way, value in found.items()}, flush=True)
            failed += max(found.values()) > TOLERANCE
            rows.append((name, how, found))
    if options.table:
        keys = ("half", "half, loaded", "branches removed", "branches removed, loaded")
        lines = [f"| network | export | {' | '.join(keys)} |", "|---|---|" + "--:|" * len(keys)]
        lines += [f"| {name} | {how} | " + " | ".join(f"{found[key]:.1e}" if key in found else "" for key in keys) + " |"
                  for name, how, found in rows]
        options.table.write_text("\n".join(lines) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
