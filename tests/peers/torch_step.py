"""PyTorch's eager training step of the CIFAR ResNet-20 with parameter-free short-cuts, or of a network of torchvision's, as a peer
to time against.

Reads lines from standard input, answers each with one line on standard output:
    network NAME SIDE FILE                     takes torchvision's network for 10 classes of SIDE x SIDE images and exports it to
                                               FILE; answers "ready"
    configure BATCH THREADS FORMAT PRECISION DEVICE
                                               FORMAT contiguous | channels-last, PRECISION full | bf16, DEVICE cpu | cuda; answers "ready"
    run STEPS                                  answers the seconds that STEPS training steps took
    quit
"""

import sys
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.stride = stride
        self.extra = (channels - channels_in) // 2

    def forward(self, x):
        shortcut = x
        if self.extra or self.stride != 1:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class ResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        blocks, width = [], 16
        for channels, stride in [(16, 1), (32, 2), (64, 2)]:
            for i in range(3):
                blocks.append(Block(width, channels, stride if i == 0 else 1))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


def take(name, side, path):
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.zeros(1, 3, side, side),), path, input_names=["x"], output_names=["y"], dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )  # fmt: skip
    return model


class Trainer:
    def __init__(self, model, side, batch, threads, layout, precision, device):
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        memory = torch.channels_last if layout == "channels-last" else torch.contiguous_format
        self.bf16 = precision == "bf16"
        self.device = device
        self.model = model.to(device, memory_format=memory).train()
        self.images = torch.randn(batch, 3, side, side, device=device).contiguous(memory_format=memory)
        self.labels = torch.randint(0, 10, (batch,), device=device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.model(self.images)
        F.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def main():
    trainer, make, side = None, ResNet20, 32
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["network"]:
            side = int(words[2])
            model = take(words[1], side, words[3])
            make = lambda: model  # noqa: E731
            print("ready", flush=True)
        elif words[:1] == ["configure"]:
            trainer = Trainer(make(), side, int(words[1]), int(words[2]), *words[3:6])
            print("ready", flush=True)
        elif words[:1] == ["run"]:
            print(trainer.run(int(words[1])), flush=True)
        else:
            break


if __name__ == "__main__":
    main()
