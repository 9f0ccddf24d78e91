"""What the device does next: takes events, returns actions; no I/O, no clock, no randomness of its own.

A manifest says what the round is, a task invites this device to it; with both, and the model that they name, the device
works and puts its answer into the outbox. Whatever is not believed is counted by its reason and dropped.
"""

import logging
from collections import Counter
from collections.abc import Callable

from edge_client.assignment import Assignment
from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.delivery import Delivery
from edge_client.events import (
    Action,
    Awaken,
    Came,
    Connected,
    Disconnected,
    DownloadOpened,
    DownloadRead,
    Event,
    Finished,
    Publish,
    Sent,
    Started,
    Stopping,
    Subscribe,
    Tick,
    Trained,
)
from edge_client.fetch import Fetch
from edge_client.nap import Nap
from edge_client.refusals import count_refusal
from edge_client.rounds import Bounds, spoilt_residual
from edge_client.sequence import Sequence
from edge_client.silence import Silence
from edge_client.state import DeviceState, OutboxEntry
from edge_client.trustees import Trustees
from edge_client.turn import Turn
from edge_client.undertaking import Undertaking
from edge_client.writer import Writer
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys
from fedloom.wire.messages import Membership, Missing, Phase, Receipt, Verdict
from fedloom.wire.topics import Topics


class Session:
    """One device's part in the protocol."""

    def __init__(
        self,
        keys: DeviceKeys,
        state: DeviceState,
        entries: tuple[OutboxEntry, ...],
        bounds: Bounds,
        entropy: Callable[[int], bytes],
        draw: Callable[[], float],
        sleeps: bool = False,
    ) -> None:
        """`entropy(n)` gives n random bytes and `draw()` a number from Uniform[0, 1); both from any thread.

        `sleeps`: this device leaves between rounds, when the aggregator does not want it for a while.
        """
        self.topics = Topics(keys.root.federation)
        self.refusals: Counter[Reason] = Counter()
        self._down = self.topics.down(keys.id)
        self._roots = self.topics.all_roots.rstrip("+")
        self._turn = Turn(state)
        self._entries = entries
        self._sequence = Sequence(state.sequence)
        self._writer = Writer(keys, state.incarnation, self._sequence, entropy)
        self._trustees = Trustees(keys, state.root_version, self._writer)
        self._delivery = Delivery(self.topics.up(keys.id), draw, bounds.max_frame_bytes, bounds.max_outbox_age_s)
        self._fetch = Fetch(self.topics, draw)
        self._silence = Silence()
        self._nap = Nap(sleeps)
        self._assignment = Assignment(self._fetch, bounds.max_model_bytes)
        self._undertaking = Undertaking(
            self._turn, self._assignment, self._delivery, self._writer, bounds.max_outbox_bytes
        )

    @property
    def wake_at_s(self) -> float | None:
        """When the next `Tick` is due."""
        if self._nap.is_on:
            return self._nap.until_s
        waits = self._delivery
        due = (waits.resend_at_s, waits.expires_at_s, self._fetch.again_at_s, self._silence.due_at_s)
        return min((each for each in due if each is not None), default=None)

    @property
    def is_waiting(self) -> bool:
        """Whether an update waits for its receipt."""
        return self._delivery.entry is not None

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """What to do about an event, at `now_s` on a monotonic clock."""
        self._turn.now_s = now_s
        match event:
            case Started(ages_s):
                self._start(dict(ages_s))
            case Connected(max_payload_bytes, is_flushed, window):
                self._connect(max_payload_bytes, is_flushed, window)
            case Disconnected():
                self._delivery.disconnected()
                self._fetch.disconnected()
            case Sent() | DownloadOpened() | DownloadRead() | Trained():
                self._on_progress(event)
            case Came(topic, payload):
                self._on_message(topic, payload)
            case Tick() if self._nap.is_on and not self._nap.is_over(now_s):
                pass
            case Awaken() | Tick() if self._nap.is_on:
                self._silence.was_busy(now_s)
                self._turn.do(*self._nap.end(), *self._subscriptions)
            case Tick(is_flushed):
                self._turn.do(*self._delivery.tick(is_flushed, now_s), *self._fetch.tick(now_s))
                self._turn.do(*self._silence.tick(now_s))
                self._give_up_if_expired()
            case Stopping() if not self._nap.is_on:
                self._turn.do(self.goodbye())
        self._reserve()
        return self._turn.end()

    def will(self) -> Publish:
        """The last will, anew for each attempt to connect; may be called from any thread."""
        return self._writer.will()

    def goodbye(self) -> Publish:
        """The last word; from numbers that are reserved already, so that it can be said when the disk has failed."""
        return self._writer.goodbye()

    def would_accept(self, manifest: bytes) -> bool:
        """Whether this manifest will end what the device is doing now."""
        try:
            judged = self._trustees.judge.manifest(manifest, self._turn.state)
        except Refused:
            return False
        return judged.is_new and not self._undertaking.goes_on(judged.body)

    def _start(self, ages_s: dict[bytes, float]) -> None:
        state = self._turn.state
        for entry in sorted(self._entries, key=lambda entry: -entry.counts_until):
            is_open = entry.manifest == state.manifest_hash or state.manifest_version <= entry.counts_until
            made_at_s = self._turn.now_s - max(0.0, ages_s.get(entry.digest, 0.0))
            self._turn.do(*self._delivery.restore(entry, is_open, made_at_s))
        self._entries = ()
        root_version = self._trustees.keys.root.version
        if root_version > state.root_version:
            self._turn.persist(root_version=root_version)
        self._turn.do(*self._subscriptions)

    @property
    def _subscriptions(self) -> list[Action]:
        return [Subscribe(self.topics.all_roots), Subscribe(self.topics.manifest), Subscribe(self._down)]

    def _give_up_if_expired(self) -> None:
        if self._delivery.is_expired(self._turn.now_s):
            self._turn.log(logging.WARNING, "outbox.expired reason=%r", "no receipt within limits.max_outbox_age_s")
            self._turn.persist(**self._delivery.leaves())
            self._turn.do(*self._delivery.end())

    def _connect(self, max_payload_bytes: int, is_flushed: bool, window: int) -> None:
        if not self._trustees.is_behind:
            self._turn.do(self._writer.ready())
        self._turn.do(*self._delivery.connected(max_payload_bytes, is_flushed, self._turn.now_s, window))
        self._fetch.connected(self._turn.now_s)

    def _on_message(self, topic: str, payload: bytes) -> None:
        if not payload:
            return  # a retained message was cleared
        try:
            if topic.startswith(self._roots):
                self._on_root(self.topics.root_version_of(topic), payload)
            elif topic == self.topics.manifest:
                self._trustees.check()
                self._on_manifest(self._trustees.judge.manifest(payload, self._turn.state))
            elif topic == self._down:
                self._trustees.check()
                self._on_down(self._trustees.judge.down(payload))
            else:
                self._on_chunk(*self.topics.chunk_of(topic), payload)
        except Refused as refused:
            self._turn.do(*count_refusal(self.refusals, topic, refused))

    def _on_root(self, version: int, document: bytes) -> None:
        signers = self._trustees.signers
        writes = self._trustees.follow(version, document)
        if not writes:
            return
        # The state first: a device that dies before the document is on disk knows that its own is an old copy.
        if version > self._turn.state.root_version:  # else ours was an old copy, and this has been done once already
            # Whoever has stolen the old key may have signed version 2**60, and any time: both begin anew with new keys.
            is_rotation = self._trustees.signers.isdisjoint(signers)
            anew = {"manifest_version": 0, "time_floor": 0} if is_rotation else {}
            self._turn.persist(root_version=version, **anew)
        self._turn.do(*writes, *self._trustees.hear_again())

    def _on_manifest(self, manifest: BelievedManifest) -> None:
        if self._assignment.manifest is not None and not manifest.is_new:
            return
        body = manifest.body
        self._silence.opened(None if body.phase is Phase.DONE else body.deadline_s, self._turn.now_s)
        is_over = not self._delivery.counts_beside(manifest)
        changes: dict[str, object] = {**self._delivery.leaves()} if is_over else {}
        if manifest.is_new:
            self._turn.do(*self._silence.heard(self._turn.now_s))
            changes |= spoilt_residual(self._turn.state, body)
            floor = max(self._turn.state.time_floor, body.issued_at)
            changes |= {"manifest_version": body.version, "manifest_hash": manifest.hash, "time_floor": floor}
        if changes:
            self._turn.persist(**changes)
        if is_over:
            self._turn.do(*self._delivery.end())
        self._undertaking.follow(body)
        self._turn.do(*self._assignment.follow(manifest))
        where = (body.version, body.job.hex(), body.phase.value, body.round, body.attempt)
        self._turn.log(logging.DEBUG, "manifest.accepted version=%d run=%s phase=%s round=%d attempt=%d", *where)
        if body.phase is Phase.DONE and (self._undertaking.is_answered or body.model is None):
            self._turn.do(Finished())
        self._undertaking.advance()

    def _on_down(self, message: BelievedTask | Receipt | Missing | Membership) -> None:
        if isinstance(message, Membership):
            self._turn.do(*self._trustees.renew(message))
        elif isinstance(message, Receipt):
            self._on_receipt(message)
        elif isinstance(message, Missing):
            self._turn.do(*self._delivery.missing(message, self._turn.now_s))
        elif self._assignment.invite(message):
            self._undertaking.advance()

    def _on_receipt(self, receipt: Receipt) -> None:
        entry = self._delivery.entry
        if entry is None or receipt.digest != entry.digest:
            raise Refused(Reason.OLD, "a receipt for an update that does not wait for one")
        self._turn.do(*self._silence.heard(self._turn.now_s))
        level = logging.WARNING if receipt.verdict is Verdict.REJECTED else logging.INFO
        what = (receipt.verdict.value, receipt.digest.hex()[:8], receipt.reason)
        self._turn.log(level, "receipt.came verdict=%s digest=%s reason=%r", *what)
        if changes := self._delivery.leaves(receipt.verdict is Verdict.ACCEPTED):
            self._turn.persist(**changes | {"answered": entry.manifest})
        else:
            # Not worth a write of its own: should it be lost, the update is sent again and gets the same receipt.
            self._turn.note(answered=entry.manifest)
        self._turn.do(*self._delivery.end())
        self._undertaking.advance()  # a newer manifest may be waiting
        if self._nap.allows(receipt) and self._undertaking.is_answered and not self._trustees.is_behind:
            self._delivery.disconnected()
            self._turn.do(self._writer.sleeping(), *self._nap.begin(receipt.come_back_s, self._turn.now_s))

    def _on_chunk(self, model: bytes, number: int, payload: bytes) -> None:
        self._turn.do(*self._fetch.accept(model, number, payload, self._turn.now_s))
        if self._fetch.is_here:
            self._undertaking.take(self._assignment.open(b"", self._turn.state))

    def _on_progress(self, event: Sent | DownloadOpened | DownloadRead | Trained) -> None:
        """What was asked for is done."""
        match event:
            case Sent(queued):
                self._turn.do(*self._delivery.sent(queued, self._turn.now_s))
            case DownloadOpened(model, missing):
                self._turn.do(*self._fetch.opened(model, missing, self._turn.now_s))
            case DownloadRead(model, cipher):
                self._undertaking.take(self._assignment.downloaded(model, cipher, self._turn.state, self._turn.now_s))
            case Trained(work, answer):
                self._silence.was_busy(self._turn.now_s)
                self._undertaking.answer(work, answer)

    def _reserve(self) -> None:
        mark = self._sequence.reserve()
        if mark is not None:
            self._turn.persist(sequence=mark)
