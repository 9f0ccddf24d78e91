"""Fusion rules by name: pure functions on weight vectors, one file and one paper each."""

from strategies.base import Block, ClientUpdate, Fused, FusionError, PlanError, State, Strategy, Updates
from strategies.in_memory import UpdatesInMemory
from strategies.registry import create, create_for, first_plan, names

__all__ = [
    "Block",
    "ClientUpdate",
    "Fused",
    "FusionError",
    "PlanError",
    "State",
    "Strategy",
    "Updates",
    "UpdatesInMemory",
    "create",
    "create_for",
    "first_plan",
    "names",
]
