"""flwr's own loop (`Strategy.start`), on nodes that answer with updates drawn before: the peer of the tests here."""

from collections.abc import Iterable, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from fedloom.learning.layout import Layout, Vector
from strategies import ClientUpdate
from strategies.flower.grid import StillGrid
from strategies.flower.messages import have_identity

LAYOUT = Layout(("0.weight", "0.bias", "1.weight"), ((3, 4), (4,), (4, 2)))


def draw(seed: int, rounds: int, clients: int = 7, spread: float = 0.1) -> list[list[ClientUpdate]]:
    """Updates of some rounds; samples and losses differ, too."""
    rng = np.random.default_rng(seed)
    return [
        [
            ClientUpdate(
                client=bytes([client]) * 16,
                samples=int(rng.integers(1, 100)),
                delta=rng.normal(scale=spread, size=LAYOUT.size).astype(np.float32),
                steps=int(rng.integers(1, 9)),
                loss=float(rng.uniform(0.1, 2.0)),
            )
            for client in range(clients)
        ]
        for _ in range(rounds)
    ]


def start(seed: int = 0) -> Vector:
    """Weights to begin with."""
    return np.random.default_rng(seed).normal(scale=0.3, size=LAYOUT.size).astype(np.float32)


def records(weights: Vector) -> ArrayRecord:
    return ArrayRecord({name: Array(view) for name, view in zip(LAYOUT.names, LAYOUT.views(weights), strict=True)})


def vector(arrays: ArrayRecord) -> np.ndarray:
    """Of whatever precision it is."""
    return np.concatenate([arrays[name].numpy().ravel() for name in LAYOUT.names])


class AnsweringGrid(StillGrid):
    """Each round's instructions are answered by that round's updates."""

    def __init__(self, strategy: Strategy, updates: Sequence[Sequence[ClientUpdate]]) -> None:
        super().__init__(strategy)
        self._rounds = iter(updates)
        self._nodes = len(updates[0])

    def get_node_ids(self) -> Iterable[int]:
        return range(self._nodes)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        asked = [message for message in messages if message.metadata.message_type == MessageType.TRAIN]
        given = next(self._rounds) if asked else ()
        return [self._answer(message, update) for message, update in zip(asked, given, strict=True)]

    def _answer(self, asked: Message, given: ClientUpdate) -> Message:
        weights = vector(asked.content["arrays"]).astype(np.float32) + given.delta
        metrics = MetricRecord({"num-examples": given.samples, "train_loss": given.loss})
        return Message(RecordDict({"arrays": records(weights), "metrics": metrics}), reply_to=asked)


def run_flwr(strategy: Strategy, weights: Vector, updates: Sequence[Sequence[ClientUpdate]]) -> list[np.ndarray]:
    """The model after each round."""
    have_identity()
    models: list[np.ndarray] = []
    strategy.fraction_evaluate = 0.0  # it has no nodes that could
    strategy.start(
        AnsweringGrid(strategy, updates),
        records(weights),
        num_rounds=len(updates),
        evaluate_fn=lambda number, arrays: models.append(vector(arrays)) if number else None,
    )
    return models
