"""The outbox's life: an update is sent until a receipt or a newer manifest ends it, with full jitter.

The time to the next copy begins when the last one has left: on a link that is slower than that, copies would pile up.
"""

import logging
from collections.abc import Callable

from edge_client.events import Action, DropOutbox, Log, Publish, Withdraw
from edge_client.state import OutboxEntry
from fedloom.errors import Refused
from fedloom.link.backoff import full_jitter_s
from fedloom.wire.chunks import MAX_FRAME, split

RESEND_FIRST_S = 4.0
RESEND_CAP_S = 120.0
RECEIPT_TIME_S = 2.0
"""An aggregator at ease answers within this: nothing is sent again before."""


class Delivery:
    """At most one update waits at a time: a round has one answer, and a newer manifest closes the round."""

    def __init__(self, topic: str, draw: Callable[[], float]) -> None:
        """`draw` gives numbers from Uniform[0, 1)."""
        self.entry: OutboxEntry | None = None
        self.resend_at_s: float | None = None
        self._topic = topic
        self._draw = draw
        self._sent_at_s: float | None = None
        self._sends = 0
        self._was_leaving = False
        """The last copy was still on its way when we last looked."""
        self._max_frame = 0
        """0 while there is no connection."""

    def restore(self, entry: OutboxEntry, is_open: bool) -> list[Action]:
        """What an earlier process has left on disk; one whose round is closed, or a second one, goes."""
        if not is_open or self.entry is not None:
            return [DropOutbox(entry.digest)]
        self.entry = entry
        return []

    def put(self, entry: OutboxEntry, now_s: float) -> list[Action]:
        """An update that is on disk now."""
        self.entry, self._sent_at_s, self._sends = entry, None, 0
        return self._send(now_s) if self._max_frame else []

    def residual_left(self) -> dict[str, bytes]:
        """What a new round changes in the residual: it goes when an update that it may be part of has no receipt.

        That update may have been accepted and its receipt lost; then the residual has been added to the model already.
        What an encoding has lost once is lost, then, but never counted twice.
        """
        return {"residual": b"", "residual_job": b""} if self.entry is not None and self.entry.has_residual else {}

    def end(self) -> list[Action]:
        """Nobody waits for the update any more."""
        if self.entry is None:
            return []
        digest, self.entry, self.resend_at_s = self.entry.digest, None, None
        return [Withdraw(self._topic), DropOutbox(digest)]

    def connected(self, max_payload_bytes: int, is_flushed: bool, now_s: float) -> list[Action]:
        """Send at once what neither waits in the link, which repeats what it had in flight, nor was sent just now."""
        self._max_frame = min(MAX_FRAME, max_payload_bytes)
        if self.entry is None:
            return []
        self._sends = 0
        if self._sent_at_s is None or (is_flushed and now_s - self._sent_at_s >= RECEIPT_TIME_S):
            return self._send(now_s)
        self._wait(now_s)
        return []

    def disconnected(self) -> None:
        """Nothing is sent into a link that has no connection: it would pile up there."""
        self._max_frame = 0
        self.resend_at_s = None

    def tick(self, is_flushed: bool, now_s: float) -> list[Action]:
        """Send again if it is time; the wait begins anew while the last copy is on its way, and once it has left."""
        if self.resend_at_s is None or now_s < self.resend_at_s:
            return []
        if is_flushed and not self._was_leaving:
            return self._send(now_s)
        self._was_leaving = not is_flushed
        self._wait(now_s)
        return []

    def _send(self, now_s: float) -> list[Action]:
        assert self.entry is not None  # noqa: S101 - for the type checker: callers have looked
        try:
            frames = split(self.entry.blob, self._max_frame)
        except Refused as refused:
            self.resend_at_s = None
            return [Log(logging.ERROR, "update.unsendable reason=%s detail=%r", (refused.reason, refused.detail))]
        self._sent_at_s, self._was_leaving = now_s, False
        self._wait(now_s)
        self._sends += 1
        short = self.entry.digest.hex()[:8]
        log = Log(logging.DEBUG, "update.sent digest=%s bytes=%d time=%d", (short, len(self.entry.blob), self._sends))
        return [log, *(Publish(self._topic, frame) for frame in frames)]

    def _wait(self, now_s: float) -> None:
        jitter_s = full_jitter_s(self._sends, self._draw(), RESEND_FIRST_S, RESEND_CAP_S)
        self.resend_at_s = now_s + RECEIPT_TIME_S + jitter_s
