"""The outbox's life: an update is sent until a receipt, or a manifest beside which it counts no more, ends it.

One that fits a message is sent again whole. A larger one goes in frames, a window of them at a time, read from its
file; then the aggregator is asked which of them it lacks, and only those are sent again: nobody holds it all. How long
an answer is waited for follows from how long answers take; after a loss the next question does not wait for a receipt.
The time to the next copy or question begins when the last one has left: on a slow link they would pile up.
"""

import logging
from collections.abc import Callable

import msgspec

from edge_client.believe import BelievedManifest
from edge_client.events import Action, DropOutbox, Log, Publish, Withdraw
from edge_client.round_trip import MIN_S, RoundTrip
from edge_client.rounds import outlasts
from edge_client.state import NO_RESIDUAL, OutboxEntry
from edge_client.upload import WINDOW, Upload
from fedloom.errors import Reason, Refused
from fedloom.link.backoff import full_jitter_s
from fedloom.wire.chunks import MAX_FRAME, Transfer, cut
from fedloom.wire.messages import Missing

RESEND_FIRST_S = 4.0
RESEND_CAP_S = 120.0
RECEIPT_TIME_S = 2.0
"""An aggregator at ease answers within this: no whole update is sent again before."""


class Delivery:
    """At most one update waits at a time: a device begins nothing new before it has the receipt."""

    def __init__(
        self,
        topic: str,
        draw: Callable[[], float],
        max_frame: int = MAX_FRAME,
        max_age_s: float = float("inf"),
    ) -> None:
        """`draw` gives numbers from Uniform[0, 1).

        What is larger than `max_frame` bytes is cut; an update waits for at most `max_age_s`.
        """
        self.entry: OutboxEntry | None = None
        """What may be cut has no `blob` here: it stays on disk."""
        self.resend_at_s: float | None = None
        self.expires_at_s: float | None = None
        self._max_age_s = max_age_s
        self._topic = topic
        self._draw = draw
        self._limit = max_frame
        self._size = 0
        """Bytes of the whole update."""
        self._upload: Upload | None = None
        self._window = 1
        self._round_trip = RoundTrip()
        self._sent_at_s: float | None = None
        self._is_new = False
        """Nothing of it has ever been sent."""
        self._sends = 0
        self._was_leaving = False
        """The last copy was still on its way when we last looked."""
        self._max_frame = 0
        """0 while there is no connection."""

    def restore(self, entry: OutboxEntry, is_open: bool, made_at_s: float) -> list[Action]:
        """What an earlier process has left on disk, newest first; one that counts no more, or a second one, goes.

        Where there are two, the receipt of the older has come: the younger would not have been made.
        """
        if not is_open or self.entry is not None:
            why = "its round is over" if not is_open else "one update waits at most"
            text = "outbox.dropped digest=%s reason=%r"
            return [Log(logging.INFO, text, (entry.digest.hex()[:8], why)), DropOutbox(entry.digest)]
        self.expires_at_s = made_at_s + self._max_age_s
        self._hold(entry, is_new=False)
        return []

    def put(self, entry: OutboxEntry, now_s: float) -> list[Action]:
        """An update that is on disk now."""
        self._hold(entry, is_new=True)
        self.expires_at_s = now_s + self._max_age_s
        return self._send(now_s) if self._max_frame else []

    def counts_beside(self, manifest: BelievedManifest) -> bool:
        """Whether the update that waits, if one does, counts beside this manifest."""
        entry = self.entry
        if entry is None or entry.manifest == manifest.hash:
            return True
        return outlasts(entry.job, entry.counts_until, manifest.body)

    def leaves(self, is_accepted: bool = False) -> dict[str, bytes]:
        """What the state must say of residual and variate before the update that waits may end.

        Without a receipt it may have been accepted long ago all the same. The residual goes: it may be in the model
        already, and what an encoding has lost once is lost, then, but never counted twice. The variate stays, until a
        task for a later manifest tells whether it counts; so there is no second answer to this one. An app's context
        is of no update: the app has run, and goes on from there.
        """
        entry, changes = self.entry, dict[str, bytes]()
        if entry is not None and entry.has_residual:
            changes |= {"residual": entry.digest, "residual_job": entry.job, "residual_manifest": entry.manifest}
            if not (is_accepted or entry.is_exchange):
                changes |= NO_RESIDUAL
        if entry is not None and entry.has_control:
            changes |= {"offered": entry.digest, "answered": entry.manifest}
        return changes

    def is_expired(self, now_s: float) -> bool:
        """Whether the update has waited for too long: nobody may ever answer it."""
        return self.expires_at_s is not None and now_s >= self.expires_at_s

    def end(self) -> list[Action]:
        """Nobody waits for the update any more."""
        if self.entry is None:
            return []
        digest, self.entry, self.resend_at_s, self._upload = self.entry.digest, None, None, None
        self.expires_at_s = None
        return [Withdraw(self._topic), DropOutbox(digest)]

    def connected(self, max_payload_bytes: int, is_flushed: bool, now_s: float, window: int = WINDOW) -> list[Action]:
        """Send at once what neither waits in the link, which repeats what it had in flight, nor was sent just now."""
        self._max_frame, self._window = min(self._limit, max_payload_bytes), min(WINDOW, window)
        if self.entry is None:
            return []
        self._sends = 0
        left = self._cut_anew()
        if left or self._sent_at_s is None or (is_flushed and now_s - self._sent_at_s >= RECEIPT_TIME_S):
            return [*left, *self._send(now_s)]
        self._wait(now_s)
        return []

    def disconnected(self) -> None:
        """Nothing is sent into a link that has no connection: it would pile up there."""
        self._max_frame = 0
        self.resend_at_s = None

    def sent(self, queued: int, now_s: float) -> list[Action]:
        """The broker has a frame more; `queued` are still in the link."""
        if self._upload is None or not self._max_frame:
            return []
        self._wait(now_s)
        if not queued and self._upload.is_worth_asking and self._sent_at_s is not None:
            self.resend_at_s = max(now_s, self._sent_at_s + MIN_S)
        return list(self._upload.next(self._window - queued))

    def missing(self, message: Missing, now_s: float) -> list[Action]:
        """The aggregator's answer to our question.

        Raises:
            Refused: OLD, nothing was asked; MALFORMED.
        """
        upload = self._upload
        if upload is None or not upload.is_asking or message.transfer != upload.transfer.id:
            raise Refused(Reason.OLD, "missing frames that were not asked for")
        if self._sends == 1 and self._sent_at_s is not None:
            self._round_trip.measured(now_s - self._sent_at_s)
        count = upload.told(message)
        self._sends = 0
        self._wait(now_s)
        frames = upload.next(self._window) if self._max_frame else []
        return [Log(logging.INFO, "update.sends missing=%d frames=%d", (count, upload.transfer.frames)), *frames]

    def tick(self, is_flushed: bool, now_s: float) -> list[Action]:
        """Send again if it is time; the wait begins anew while the last copy is on its way, and once it has left."""
        if self.resend_at_s is None or now_s < self.resend_at_s:
            return []
        if is_flushed and not self._was_leaving:
            return self._send(now_s)
        self._was_leaving = not is_flushed
        self._wait(now_s)
        return []

    def _hold(self, entry: OutboxEntry, is_new: bool) -> None:
        self._size = len(entry.blob)
        self.entry = entry if self._size <= MAX_FRAME else msgspec.structs.replace(entry, blob=b"")
        self._sent_at_s, self._sends, self._upload, self._is_new = None, 0, None, is_new

    def _cut_anew(self) -> list[Action]:
        """Where this broker takes other messages than the one before: the frames in the link are of no use any more."""
        upload = self._upload
        if upload is None or (self._size > self._max_frame and upload.transfer == self._transfer()):
            return []
        self._upload = None
        return [Withdraw(self._topic)]

    def _send(self, now_s: float) -> list[Action]:
        assert self.entry is not None  # noqa: S101 - for the type checker: callers have looked
        try:
            sent = self._whole(self.entry) if self._size <= self._max_frame else self._piece(self.entry)
        except Refused as refused:
            self.resend_at_s = None
            return [Log(logging.ERROR, "update.unsendable reason=%s detail=%r", (refused.reason, refused.detail))]
        self._sent_at_s, self._was_leaving, self._is_new = now_s, False, False
        self._wait(now_s)
        self._sends += 1
        short = self.entry.digest.hex()[:8]
        log = Log(logging.DEBUG, "update.sent digest=%s bytes=%d time=%d", (short, self._size, self._sends))
        return [log, *sent]

    def _whole(self, entry: OutboxEntry) -> list[Action]:
        return [Publish(self._topic, entry.blob)]

    def _piece(self, entry: OutboxEntry) -> list[Action]:
        """Frames, where we know of some that have to be sent, else the question."""
        if self._upload is None:
            self._upload = Upload(self._transfer(), self._topic, entry.digest, self._is_new)
        if self._upload.has_frames:
            return list(self._upload.next(self._window))
        return [Publish(self._topic, self._upload.ask())]

    def _transfer(self) -> Transfer:
        assert self.entry is not None  # noqa: S101 - for the type checker: callers have looked
        return cut(self.entry.digest, self._size, self._max_frame)

    def _wait(self, now_s: float) -> None:
        """A question is small, and its answer comes at once; a whole update is neither."""
        timeout_s = self._round_trip.timeout_s
        wait_s, first_s = (timeout_s, timeout_s / 2) if self._upload else (RECEIPT_TIME_S, RESEND_FIRST_S)
        self.resend_at_s = now_s + wait_s + full_jitter_s(self._sends, self._draw(), first_s, RESEND_CAP_S)
