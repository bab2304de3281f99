"""Torch-Pruning's channel analysis and pruning of torchvision networks, as a peer to time against.

Reads lines from standard input, answers each with one line on standard output:
    NAME SIDE    answers the seconds of building the dependency graph, and of making a pruner (with its graph) and one step
                 of magnitude pruning that drops half of the channels
    quit
"""

import sys
import time
import warnings

import torch
import torch_pruning
import torchvision

# The same as the networks that `export_zoo.py` writes: the classifier keeps its outputs.


def classifier(network):
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    return layers[-1:]


def times(name, side):
    image = torch.zeros(1, 3, side, side)
    network = torchvision.models.get_model(name, weights=None).eval()
    start = time.perf_counter()
    torch_pruning.DependencyGraph().build_dependency(network, example_inputs=image)
    graph = time.perf_counter() - start
    network = torchvision.models.get_model(name, weights=None).eval()
    start = time.perf_counter()
    pruner = torch_pruning.pruner.MagnitudePruner(
        network, image, importance=torch_pruning.importance.GroupMagnitudeImportance(), pruning_ratio=0.5,
        ignored_layers=classifier(network),
    )
    pruner.step()
    return graph, time.perf_counter() - start


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["quit"]:
            break
        print(*times(words[0], int(words[1])), flush=True)


if __name__ == "__main__":
    main()
