"""The way back to PyTorch: `cut` and `load` of what graphprune pruned, and `export` with the names of the parameters."""

from graphprune.cutting import Zero, cut
from graphprune.files import BridgeError, export, load

__all__ = ["BridgeError", "Zero", "cut", "export", "load"]
