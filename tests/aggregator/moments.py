"""A strategy with a state as large as Adam's, for tests: m ← m/2 + mean, v ← v/2 + mean², w ← w + m / (√v + 1)."""

from typing import ClassVar

import msgspec
import numpy as np

from fedloom.learning.plan import TrainPlan
from strategies import Fused
from strategies.base import State, total_samples


class MomentsState(State, frozen=True):
    rounds: int = 0
    first: bytes = b""
    second: bytes = b""


class MomentsStrategy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In float64, from updates in canonical order."""

    is_asynchronous: ClassVar[bool] = False

    def initial_state(self, size):
        return MomentsState(first=bytes(8 * size), second=bytes(8 * size))

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        return base

    def broadcast(self, state: State) -> None:
        return None

    def fuse(self, weights, updates, state):
        total = total_samples(updates)
        mean = np.zeros(weights.size)
        for update in updates:
            mean += update.delta * np.float64(update.samples / total)
        first = np.frombuffer(state.first) / 2 + mean
        second = np.frombuffer(state.second) / 2 + mean * mean
        fused = weights + first / (np.sqrt(second) + 1.0)
        left = MomentsState(rounds=state.rounds + 1, first=first.tobytes(), second=second.tobytes())
        return Fused(fused.astype(np.float32), left)
