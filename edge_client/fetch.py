"""Fetching a round's model: its chunks are retained at the broker and are believed by their hashes in the manifest.

A chunk is asked for by subscribing to its topic, a window of them at a time, and kept on disk as it comes: what arrived
before a power cut is not asked for again. A model of one chunk stays in memory.

A chunk is asked for again when three that were asked for later have come (a broker sends in order), or when nothing has
come for much longer than chunks have taken so far.
"""

import logging
from collections import deque
from collections.abc import Callable

import numpy as np

from edge_client.events import Action, KeepChunk, Log, Model, OpenDownload, ReadDownload, Subscribe, Unsubscribe
from fedloom.link.backoff import full_jitter_s
from fedloom.wire.chunks import Chunks
from fedloom.wire.messages import Brief, ModelRef
from fedloom.wire.model_blob import open_model, open_plain
from fedloom.wire.topics import Topics

MAX_WINDOW = 16
"""Chunks that are asked for at once, at most."""
MIN_WINDOW = 3
"""So that a link is busy while the next chunk is asked for, and a lost one shows."""
FIRST_WINDOW = 4
AHEAD_S = 8.0
"""As many are asked for as come in this time: what waits at the broker goes before the next manifest."""
PASSED = 3
"""A chunk is lost when so many that were asked for later have come."""
PATIENCE_S = 15.0
"""Before the first chunk has come, beyond the time that it takes at SLOWEST, some before it being lost."""
SLOWEST = 1000.0
"""Bytes a second."""
PACES = 4.0
"""Silence of so many times what a chunk has taken so far, and of AGAIN_FIRST_S, makes us ask again."""
AGAIN_FIRST_S = 3.0
AGAIN_CAP_S = 300.0
_SMOOTHING = 0.25


class Fetch:
    """One model at a time."""

    def __init__(self, topics: Topics, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from Uniform[0, 1)."""
        self.again_at_s: float | None = None
        self._topics = topics
        self._draw = draw
        self._is_connected = False
        self._ref: ModelRef | None = None
        self._chunks: Chunks | None = None
        self._cipher = b""
        """Of a model of one chunk."""
        self._todo: deque[int] = deque()
        """What has not been asked for."""
        self._asked: dict[int, int] = {}
        """What has, in that order: how many came that were asked for later."""
        self._tries = 0
        self._pace_s: float | None = None
        """How long a chunk takes; None before the first."""
        self._heard_s = 0.0

    def begin(self, ref: ModelRef, now_s: float) -> list[Action]:
        """Ask for a model's chunks, unless that is under way."""
        if self._ref == ref:
            return []
        left = self.cancel()
        self._ref = ref
        self._chunks = Chunks(ref.chunk_hashes, ref.chunk_bytes, ref.cipher_bytes)
        if len(ref.chunk_hashes) == 1:
            self._todo.append(0)
            return [*left, *self._ask(now_s)]
        return [*left, OpenDownload(ref.cipher_hash, self._chunks)]

    def begin_again(self, now_s: float) -> list[Action]:
        """The disk has spoiled some of it."""
        assert self._ref is not None  # noqa: S101 - for the type checker: callers have looked
        ref, left = self._ref, self.cancel()
        return [*left, *self.begin(ref, now_s)]

    def opened(self, model: bytes, missing: tuple[int, ...], now_s: float) -> list[Action]:
        """What the disk lacks of a model."""
        if self._ref is None or not self.wants(model):
            return []
        self._todo.extend(missing)
        log = Log(logging.INFO, "model.fetching missing=%d chunks=%d", (len(missing), len(self._ref.chunk_hashes)))
        return [log, *(self._ask(now_s) if missing else [ReadDownload(model)])]

    def cancel(self) -> list[Action]:
        """Forget the model; what is on disk stays there, in case that it is wanted again."""
        if self._ref is None:
            return []
        left = self._left(*self._asked)
        self._ref = self._chunks = self._pace_s = self.again_at_s = None
        self._cipher, self._tries = b"", 0
        self._todo.clear()
        self._asked.clear()
        return left

    def accept(self, model: bytes, number: int, payload: bytes, now_s: float) -> list[Action]:
        """Take a chunk.

        Raises:
            Refused: the chunk is not the one that the manifest names.
        """
        if self._chunks is None or self._ref is None or not self.wants(model):
            return []
        self._chunks.check(number, payload)
        if number not in self._asked:
            return []  # it was on its way when we unsubscribed
        self._measure(now_s)
        again = self._passed_by(number)
        if len(self._ref.chunk_hashes) == 1:
            self._cipher = payload
            return self._left(number)
        kept: list[Action] = [KeepChunk(model, self._chunks.span(number)[0], payload), *self._left(number)]
        if not self._todo and not self._asked:
            return [*kept, ReadDownload(model)]
        return [*kept, *self._ask(now_s, again)]

    def wants(self, model: bytes) -> bool:
        """Whether this is the model that is being fetched."""
        return self._ref is not None and self._ref.cipher_hash == model

    @property
    def is_here(self) -> bool:
        """Whether the model came in one chunk, which is here."""
        return bool(self._cipher)

    def connected(self, now_s: float) -> None:
        """The link has subscribed again where that was needed."""
        self._is_connected = True
        if self._asked:
            self._heard_s = now_s
            self._wait(now_s)

    def disconnected(self) -> None:
        """Nothing can come."""
        self._is_connected = False
        self.again_at_s = None

    def tick(self, now_s: float) -> list[Action]:
        """Ask again for the oldest ones if nothing has come for a while; they show what became of the others."""
        if self.again_at_s is None or now_s < self.again_at_s:
            return []
        self._tries += 1
        return self._ask(now_s, list(self._asked)[:PASSED])

    def open(self, brief: Brief, key: bytes, cipher: bytes = b"", *, is_request: bool = False) -> Model:
        """The complete model in the clear, or the request that takes its place.

        Raises:
            Refused: it is not what manifest and brief say, or the key does not fit.
        """
        assert self._ref is not None  # noqa: S101 - for the type checker: complete models have one
        if is_request:
            plain = open_plain(cipher or self._cipher, self._ref, key)
            return Model(self._ref.plain_hash, np.empty(0, np.float32), None, request=plain)
        size, inputs = brief.spec.layout().size, brief.spec.inputs
        standardised = inputs if brief.data.standardise else None
        weights, standardiser, control = open_model(cipher or self._cipher, self._ref, key, size, standardised)
        return Model(self._ref.plain_hash, weights, standardiser, self._ref.control_hash, control)

    def _ask(self, now_s: float, again: list[int] | None = None) -> list[Action]:
        """Fill the window; `again` are asked for although they are in it."""
        assert self._ref is not None  # noqa: S101 - for the type checker: callers have looked
        if not self._asked:
            self._heard_s = now_s
        numbers = again or []
        on_their_way = sum(not passed for passed in self._asked.values())
        room = min(self._window - on_their_way, MAX_WINDOW - len(self._asked), len(self._todo))
        numbers += [self._todo.popleft() for _ in range(room)]
        for number in again or []:
            self._asked.pop(number, None)
        self._asked |= dict.fromkeys(numbers, 0)
        self._wait(now_s)
        return [Subscribe(self._topics.chunk(self._ref.cipher_hash, number), renew=False) for number in numbers]

    def _left(self, *numbers: int) -> list[Action]:
        assert self._ref is not None  # noqa: S101 - for the type checker: callers have looked
        return [Unsubscribe(self._topics.chunk(self._ref.cipher_hash, number)) for number in numbers]

    def _passed_by(self, number: int) -> list[int]:
        """Take a chunk off the list; returns those that were asked for before it and must be lost."""
        lost = []
        for each in list(self._asked):
            if each == number:
                break
            self._asked[each] += 1
            if self._asked[each] >= PASSED:
                lost.append(each)
        del self._asked[number]
        return lost

    @property
    def _window(self) -> int:
        if self._pace_s is None:
            return FIRST_WINDOW
        return max(MIN_WINDOW, min(MAX_WINDOW, int(AHEAD_S / max(self._pace_s, 1e-3))))

    def _measure(self, now_s: float) -> None:
        gap_s, self._heard_s, self._tries = now_s - self._heard_s, now_s, 0
        self._pace_s = gap_s if self._pace_s is None else self._pace_s + _SMOOTHING * (gap_s - self._pace_s)

    def _wait(self, now_s: float) -> None:
        assert self._chunks is not None  # noqa: S101 - for the type checker: callers have looked
        if not self._is_connected:
            return
        first_s = PATIENCE_S + min(len(self._asked), PASSED) * self._chunks.span(0)[1] / SLOWEST
        patience_s = first_s if self._pace_s is None else PACES * self._pace_s
        jitter_s = full_jitter_s(self._tries, self._draw(), AGAIN_FIRST_S, AGAIN_CAP_S)
        self.again_at_s = now_s + patience_s + AGAIN_FIRST_S + jitter_s
