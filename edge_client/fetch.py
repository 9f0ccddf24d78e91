"""Fetching a round's model: its chunks are retained at the broker and are believed by their hashes in the manifest."""

from collections.abc import Callable

from edge_client.events import Action, Model, Subscribe, Unsubscribe
from fedloom.link.backoff import full_jitter_s
from fedloom.wire.chunks import Download
from fedloom.wire.messages import Brief, ModelRef
from fedloom.wire.model_blob import open_model
from fedloom.wire.topics import Topics

AGAIN_FIRST_S = 15.0
AGAIN_CAP_S = 300.0
PATIENCE_S = 15.0
"""Without a new chunk for this long, and a jitter, the retained ones are asked for again. Not sooner: all of them come
again, which a slow connection feels, and a subscription hears of chunks that are published later anyway."""


class Fetch:
    """One model at a time."""

    def __init__(self, topics: Topics, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from Uniform[0, 1)."""
        self.again_at_s: float | None = None
        self._topics = topics
        self._draw = draw
        self._ref: ModelRef | None = None
        self._download: Download | None = None
        self._tries = 0

    def begin(self, ref: ModelRef, now_s: float) -> list[Action]:
        """Ask for a model's chunks, unless that is under way."""
        if self._ref == ref:
            return []
        left = self.cancel()
        self._ref = ref
        self._download = Download(ref.chunk_hashes, ref.chunk_bytes, ref.cipher_bytes)
        self._tries = 0
        return [*left, *self._ask(now_s)]

    def cancel(self) -> list[Action]:
        """Forget the model."""
        if self._ref is None:
            return []
        topic_filter = self._topics.chunks(self._ref.cipher_hash)
        self._ref = self._download = self.again_at_s = None
        return [Unsubscribe(topic_filter)]

    def accept(self, model: bytes, number: int, payload: bytes, now_s: float) -> bool:
        """Take a chunk; returns whether the model is complete now.

        Raises:
            Refused: the chunk is not the one that the manifest names.
        """
        if self._download is None or self._ref is None or model != self._ref.cipher_hash:
            return False  # one that was on its way when we unsubscribed
        if self._download.accept(number, payload):
            self._wait(now_s)
        return self._download.complete

    def tick(self, now_s: float) -> list[Action]:
        """Ask again if nothing has come for a while."""
        return self._ask(now_s) if self.again_at_s is not None and now_s >= self.again_at_s else []

    def open(self, brief: Brief, key: bytes) -> Model:
        """The complete model in the clear.

        Raises:
            Refused: it is not what manifest and brief say, or the key does not fit.
        """
        assert self._ref is not None  # noqa: S101 - for the type checker: complete models have one
        assert self._download is not None  # noqa: S101
        size, inputs = brief.spec.layout().size, brief.spec.inputs
        standardised = inputs if brief.data.standardise else None
        weights, standardiser = open_model(self._download.assemble(), self._ref, key, size, standardised)
        return Model(self._ref.plain_hash, weights, standardiser)

    def _ask(self, now_s: float) -> list[Action]:
        assert self._ref is not None  # noqa: S101
        self._wait(now_s)
        self._tries += 1
        return [Subscribe(self._topics.chunks(self._ref.cipher_hash))]

    def _wait(self, now_s: float) -> None:
        self.again_at_s = now_s + PATIENCE_S + full_jitter_s(self._tries, self._draw(), AGAIN_FIRST_S, AGAIN_CAP_S)
