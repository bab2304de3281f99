"""Exports small networks of torchvision's and timm's classes, in the forms that PyTorch's two exporters give at several operator
sets, for the tests that run without PyTorch.

    python export_small.py DIRECTORY

Writes DIRECTORY/NAME-EXPORTER-OPSET.onnx.gz. Weights are random, seeded by the network's name, and rounded so that the files
compress well.
"""

import contextlib
import gzip
import pathlib
import sys
import unittest.mock
import warnings
import zlib

import onnx
import onnxscript
import timm
import torch
import torchvision
from onnx_ir.passes import PassResult
from onnx_ir.passes.common import InlinePass
from onnxscript import FLOAT
from onnxscript import opset18 as op
from timm.layers import SelectiveKernel, SplitAttn
from timm.layers.grn import GlobalResponseNorm
from torch import nn
from torchvision.models import convnext, densenet, efficientnet, maxvit, mobilenetv2, mobilenetv3, shufflenetv2
from torchvision.models import swin_transformer as swin
from torchvision.models import vision_transformer
from torchvision.ops import FeaturePyramidNetwork

torch.backends.mha.set_fastpath_enabled(False)


class Pyramid(nn.Module):
    """A feature pyramid over two stages: two outputs, one of them resized."""

    def __init__(self):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8))
        self.high = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.ReLU())
        self.pyramid = FeaturePyramidNetwork([8, 12], 6)

    def forward(self, x):
        low = self.low(x)
        found = self.pyramid({"low": low, "high": self.high(low)})
        return found["low"], found["high"]


NET = onnxscript.values.Opset("net", 1)


@onnxscript.script(NET)
def Swish(x: FLOAT[...], steep: float = 1.0) -> FLOAT[...]:
    return op.Mul(x, op.Sigmoid(op.Mul(x, op.Constant(value_float=steep))))


@onnxscript.script(NET)
def Mixed(x: FLOAT[...], slope: float) -> FLOAT[...]:
    return op.Add(Swish(x, steep=slope), op.LeakyRelu(x, alpha=slope))


def leaky_relu(x, negative_slope: float = 0.01):
    return Mixed(x, slope=negative_slope)


TRANSLATED = {torch.ops.aten.silu.default: Swish, torch.ops.aten.leaky_relu.default: leaky_relu}


class Activations(nn.Module):
    """Activations that are exported as functions of the model; one calls the other."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.LeakyReLU(0.3), nn.Conv2d(12, 8, 1))
        self.last = nn.Sequential(nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        return self.last(self.second(self.first(x)))


class Unet(nn.Module):
    """A transposed convolution beside a shortcut that is concatenated."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.1))
        self.inside = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, 1, 1), nn.BatchNorm2d(12), nn.SiLU())
        self.up = nn.ConvTranspose2d(12, 8, 2, 2)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        down = self.down(x)
        return self.last(torch.cat([down, self.up(self.inside(down))], 1))


def v3(inner, out, gate, activation, stride):
    return mobilenetv3.InvertedResidualConfig(8, 3, inner, out, gate, activation, stride, 1, 1.0)


def build(name):
    swin_sizes = dict(patch_size=[4, 4], embed_dim=12, depths=[2, 1], num_heads=[2, 4], num_classes=5)
    block = efficientnet.MBConvConfig
    fused = efficientnet.FusedMBConvConfig
    makers = {
        "mobilenet_v3": lambda: mobilenetv3.MobileNetV3([v3(16, 8, True, "RE", 2), v3(24, 8, True, "HS", 1)], 32, 5),
        "shufflenet_v2": lambda: shufflenetv2.ShuffleNetV2([2, 2, 2], [8, 12, 16, 24, 32], 5),
        "densenet": lambda: densenet.DenseNet(4, (2, 3), 8, num_classes=5),
        "efficientnet": lambda: efficientnet.EfficientNet(
            [fused(1, 3, 1, 8, 8, 1), fused(2, 3, 2, 8, 16, 1), block(2, 3, 2, 16, 24, 2)], 0.0, num_classes=5, last_channel=32
        ),
        "convnext": lambda: convnext.ConvNeXt(
            [convnext.CNBlockConfig(8, 12, 1), convnext.CNBlockConfig(12, None, 2)], num_classes=5
        ),
        "vit": lambda: vision_transformer.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=5),
        "swin": lambda: swin.SwinTransformer(window_size=[5, 5], **swin_sizes),
        "swin_v2": lambda: swin.SwinTransformer(
            window_size=[4, 4], block=swin.SwinTransformerBlockV2, downsample_layer=swin.PatchMergingV2, **swin_sizes
        ),
        "maxvit": lambda: maxvit.MaxVit((32, 32), 8, 4, [8, 16], [1, 1], 4, 0.0, num_classes=5),
        "convnextv2": lambda: timm.create_model(
            "convnextv2_atto", depths=(1, 1, 1, 1), dims=(8, 12, 16, 20), num_classes=5, exportable=True
        ),
        "attention": lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), SplitAttn(8, 16), SelectiveKernel(16, 24), GlobalResponseNorm(24, channels_last=False),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
        ),
        "pyramid": Pyramid,
        "unet": Unet,
        "functions": Activations,
    }
    torch.manual_seed(zlib.crc32(name.encode()))
    network = makers[name]().eval()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.dtype != torch.float32 or value.numel() < 2:
                continue
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif (value == value.flatten()[0]).all():
                value.add_(torch.randn(value.shape) * 0.2)
            value.copy_((value * 256).round() / 256)
    return network


# Each network by one tracing export and one of torch.export, at operator sets from the oldest to the newest in use.
TRACED = {
    "mobilenet_v3": 14, "shufflenet_v2": 11, "densenet": 13, "efficientnet": 16, "convnext": 17, "vit": 14, "swin": 17, "swin_v2": 16,
    "maxvit": 17, "convnextv2": 18, "attention": 12, "pyramid": 11, "unet": 20,
}  # fmt: skip
NEWER = {
    "mobilenet_v3": 20, "shufflenet_v2": 18, "densenet": 20, "efficientnet": 18, "convnext": 20, "vit": 20, "swin": 18,
    "maxvit": 20, "attention": 18, "pyramid": 21, "unet": 18, "functions": 18,
}  # fmt: skip
# Those that are exported for a single image.
FIXED = ("densenet", "swin")


def functions_kept():
    """PyTorch's exporter takes functions apart at its end; without that step the file has them."""
    return unittest.mock.patch.object(InlinePass, "call", lambda _, model: PassResult(model, False))


def export(name, path, opset, dynamo):
    network = build(name)
    size = 40 if name == "swin" else 32
    image = torch.zeros(1 if name in FIXED else 2, 3, size, size)
    outputs = ["y", "z"] if name == "pyramid" else ["y"]
    options = {"input_names": ["x"], "output_names": outputs, "opset_version": opset, "dynamo": dynamo}
    if dynamo:
        options.update(external_data=False, verbose=False, optimize=True)
        if name == "functions":
            options.update(optimize=False, custom_translation_table=TRANSLATED)
        if name not in FIXED:
            options["dynamic_shapes"] = ({0: torch.export.Dim("N")},)
    else:
        keep = opset % 2 == 1
        options["training"] = torch.onnx.TrainingMode.PRESERVE if keep else torch.onnx.TrainingMode.EVAL
        if name not in FIXED:
            options["dynamic_axes"] = {key: {0: "N"} for key in ["x", *outputs]}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with functions_kept() if name == "functions" else contextlib.nullcontext():
            torch.onnx.export(network, (image,), str(path), **options)
    model = onnx.load(path)
    # Where in PyTorch's source a node comes from is of no use here.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph, model):
        del part.metadata_props[:]
        part.doc_string = ""
    with gzip.GzipFile(path.with_suffix(".onnx.gz"), "wb", mtime=0) as file:
        file.write(model.SerializeToString())
    path.unlink()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for names, dynamo, word in ((TRACED, False, "traced"), (NEWER, True, "dynamo")):
        for name, opset in names.items():
            path = folder / f"{name}-{word}-{opset}.onnx"
            try:
                export(name, path, opset, dynamo)
                print(path.name, path.with_suffix(".onnx.gz").stat().st_size)
            except Exception as error:  # a failure of a foreign exporter is reported, and the others go on
                print(f"{path.name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)


main()
