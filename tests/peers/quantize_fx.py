"""Quantises a small network with PyTorch's own quantiser (FX graph mode) and exports it.

    python quantize_fx.py FILE

The file is kept in the repository beside this script, because the tests' Python has no PyTorch. Weights and images are
seeded noise: what matters is the form of the file, not its accuracy. Written with PyTorch 2.11.
"""

import sys
import warnings

import onnx
import torch
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx


class Network(nn.Module):
    """Convolutions with and without groups, a residual sum, a pool and a matrix product."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16), nn.ReLU())
        self.pointwise = nn.Sequential(nn.Conv2d(16, 24, 1), nn.ReLU())
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(24, 10)

    def forward(self, x):
        x = self.first(x)
        x = self.relu(x + self.second(x))
        x = self.pool(self.pointwise(self.depthwise(x)))
        return self.last(x.flatten(1))


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    images = 4 * torch.rand(32, 3, 32, 32) - 2
    # Of activations it takes seven bits, so that sums of products are exact on every processor.
    mapping = get_default_qconfig_mapping("fbgemm")
    network = prepare_fx(Network().eval(), mapping, (images,))
    network(images)
    axes = {"x": {0: "N"}, "y": {0: "N"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(convert_fx(network), (images[:2],), sys.argv[1], opset_version=17, dynamo=False, **names)
    model = onnx.load(sys.argv[1])
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.save(model, sys.argv[1])


if __name__ == "__main__":
    main()
