"""The way back to PyTorch: `cut` cuts a module by a plan of graphprune, `load` takes the weights of a pruned file into it, and
`export` writes an ONNX file whose initializers have the names of the module's parameters."""

from graphprune.cutting import Zero, cut
from graphprune.files import BridgeError, export, load

__all__ = ["BridgeError", "Zero", "cut", "export", "load"]
