"""Fusion rules by name: pure functions on weight vectors, one file and one paper each."""

from strategies.base import Block, ClientUpdate, Fused, FusionError, State, Strategy, Updates
from strategies.in_memory import UpdatesInMemory
from strategies.registry import create, names

__all__ = [
    "Block",
    "ClientUpdate",
    "Fused",
    "FusionError",
    "State",
    "Strategy",
    "Updates",
    "UpdatesInMemory",
    "create",
    "names",
]
