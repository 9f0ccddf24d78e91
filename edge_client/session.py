"""What the device does next: takes events, returns actions; no I/O, no clock, no randomness of its own.

A manifest says what the round is, a task invites this device to it; with both, and the model that they name, the device
works and puts its answer into the outbox. Whatever is not believed is counted by its reason and dropped.
"""

import logging
from collections import Counter
from collections.abc import Callable

import msgspec

from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.delivery import Delivery
from edge_client.events import (
    Abandon,
    Action,
    Answer,
    Came,
    Connected,
    Disconnected,
    Event,
    Finished,
    Log,
    Model,
    PersistState,
    Publish,
    SaveModel,
    Started,
    Stopping,
    StoreOutbox,
    Subscribe,
    Tick,
    Train,
    Trained,
    Work,
)
from edge_client.fetch import Fetch
from edge_client.refusals import count_refusal
from edge_client.rounds import Bounds, EarlyTask, Round, declined, place
from edge_client.sequence import Sequence
from edge_client.silence import Silence
from edge_client.state import DeviceState, OutboxEntry
from edge_client.trustees import Trustees
from edge_client.writer import Writer
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys
from fedloom.wire.brief import open_brief
from fedloom.wire.messages import Membership, Phase, Receipt, Verdict
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
    ) -> None:
        """`entropy(n)` gives n random bytes and `draw()` a number from Uniform[0, 1); both from any thread."""
        self.topics = Topics(keys.root.federation)
        self.refusals: Counter[Reason] = Counter()
        self._down = self.topics.down(keys.id)
        self._roots = self.topics.all_roots.rstrip("+")
        self._state = state
        self._entries = entries
        self._bounds = bounds
        self._sequence = Sequence(state.sequence)
        self._writer = Writer(keys, state.incarnation, self._sequence, entropy)
        self._trustees = Trustees(keys, state.root_version, self._writer)
        self._delivery = Delivery(self.topics.up(keys.id), draw)
        self._fetch = Fetch(self.topics, draw)
        self._silence = Silence()
        self._manifest: BelievedManifest | None = None
        self._task: BelievedTask | None = None
        self._early = EarlyTask()
        self._model: Model | None = None
        self._work: Work | None = None
        self._now_s = 0.0
        self._actions: list[Action] = []

    @property
    def wake_at_s(self) -> float | None:
        """When the next `Tick` is due."""
        due = (self._delivery.resend_at_s, self._fetch.again_at_s, self._silence.due_at_s)
        return min((each for each in due if each is not None), default=None)

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """What to do about an event, at `now_s` on a monotonic clock."""
        self._now_s = now_s
        match event:
            case Started():
                self._start()
            case Connected(max_payload_bytes, is_flushed):
                self._connect(max_payload_bytes, is_flushed)
            case Disconnected():
                self._delivery.disconnected()
            case Came(topic, payload):
                self._on_message(topic, payload)
            case Tick(is_flushed):
                self._do(*self._delivery.tick(is_flushed, now_s), *self._fetch.tick(now_s))
                self._do(*self._silence.tick(now_s))
            case Trained(work, answer):
                self._silence.was_busy(now_s)
                self._on_answer(work, answer)
            case Stopping():
                self._do(self.goodbye())
        self._reserve()
        actions, self._actions = self._actions, []
        return actions

    def will(self) -> Publish:
        """The last will, anew for each attempt to connect; may be called from any thread."""
        return self._writer.will()

    def goodbye(self) -> Publish:
        """The last word; from numbers that are reserved already, so that it can be said when the disk has failed."""
        return self._writer.goodbye()

    def would_accept(self, manifest: bytes) -> bool:
        """Whether this manifest will end what the device is doing now."""
        try:
            return self._trustees.judge.manifest(manifest, self._state).is_new
        except Refused:
            return False

    def _start(self) -> None:
        for entry in self._entries:
            is_open = entry.manifest == self._state.manifest_hash
            self._do(*self._delivery.restore(entry, is_open))
        root_version = self._trustees.keys.root.version
        if root_version > self._state.root_version:
            self._persist(root_version=root_version)
        self._do(Subscribe(self.topics.all_roots), Subscribe(self.topics.manifest), Subscribe(self._down))

    def _connect(self, max_payload_bytes: int, is_flushed: bool) -> None:
        if not self._trustees.is_behind:
            self._do(self._writer.ready())
        self._do(*self._delivery.connected(max_payload_bytes, is_flushed, self._now_s))

    def _on_message(self, topic: str, payload: bytes) -> None:
        if not payload:
            return  # a retained message was cleared
        try:
            if topic.startswith(self._roots):
                self._on_root(self.topics.root_version_of(topic), payload)
            elif topic == self.topics.manifest:
                self._trustees.check()
                self._on_manifest(self._trustees.judge.manifest(payload, self._state))
            elif topic == self._down:
                self._trustees.check()
                self._on_down(self._trustees.judge.down(payload))
            else:
                self._on_chunk(*self.topics.chunk_of(topic), payload)
        except Refused as refused:
            self._do(*count_refusal(self.refusals, topic, refused))

    def _on_root(self, version: int, document: bytes) -> None:
        signers = self._trustees.signers
        writes = self._trustees.follow(version, document)
        if not writes:
            return
        # The state first: a device that dies before the document is on disk knows that its own is an old copy.
        if version > self._state.root_version:  # else ours was an old copy, and this has been done once already
            # Whoever has stolen the old key may have signed version 2**60, and any time: both begin anew with new keys.
            is_rotation = self._trustees.signers.isdisjoint(signers)
            anew = {"manifest_version": 0, "time_floor": 0} if is_rotation else {}
            self._persist(root_version=version, **anew)
        self._do(*writes, *self._trustees.hear_again())

    def _on_manifest(self, manifest: BelievedManifest) -> None:
        if self._manifest is not None and not manifest.is_new:
            return
        body = manifest.body
        self._silence.opened(None if body.phase is Phase.DONE else body.deadline_s, self._now_s)
        if manifest.is_new:
            self._do(*self._silence.heard(self._now_s))
            floor = max(self._state.time_floor, body.issued_at)
            place = {"manifest_version": body.version, "manifest_hash": manifest.hash, "time_floor": floor}
            self._persist(**place, **self._delivery.residual_left())
            self._do(*self._delivery.end())
        if self._work is not None:
            self._do(Abandon())
        self._do(*self._fetch.cancel())
        self._manifest, self._work, self._task = manifest, None, self._early.take(manifest.hash)
        where = (body.version, body.job.hex(), body.phase.value, body.round, body.attempt)
        self._log(logging.DEBUG, "manifest.accepted version=%d run=%s phase=%s round=%d attempt=%d", *where)
        if body.phase is Phase.DONE and (self._is_answered or body.model is None):
            self._do(Finished())
        self._advance()

    def _on_down(self, message: BelievedTask | Receipt | Membership) -> None:
        if isinstance(message, Membership):
            self._do(*self._trustees.renew(message))
        elif isinstance(message, Receipt):
            self._on_receipt(message)
        elif self._manifest is not None and message.header.manifest == self._manifest.hash:
            self._task = message
            self._advance()
        else:
            self._early.keep(message, self._manifest.body if self._manifest else None)

    def _on_receipt(self, receipt: Receipt) -> None:
        entry = self._delivery.entry
        if entry is None or receipt.digest != entry.digest:
            raise Refused(Reason.OLD, "a receipt for an update that does not wait for one")
        self._do(*self._silence.heard(self._now_s))
        level = logging.WARNING if receipt.verdict is Verdict.REJECTED else logging.INFO
        self._log(level, "receipt.came verdict=%s reason=%r", receipt.verdict.value, receipt.reason)
        if receipt.verdict is Verdict.ACCEPTED and entry.has_residual:
            self._persist(answered=entry.manifest, residual=entry.digest, residual_job=entry.job)
        else:
            # Not worth a write of its own: should it be lost, the update is sent again and gets the same receipt.
            self._state = msgspec.structs.replace(self._state, answered=entry.manifest)
        self._do(*self._delivery.end())

    def _on_chunk(self, model: bytes, number: int, payload: bytes) -> None:
        if not self._fetch.accept(model, number, payload, self._now_s):
            return
        round_ = self._round()
        if round_ is None:
            return
        try:
            self._model = self._fetch.open(round_.brief, round_.task.body.model_key)
        except Refused as refused:
            self._do(*self._fetch.cancel())
            self._decline(round_, f"the model cannot be opened: {refused}")
            return
        self._do(*self._fetch.cancel())
        self._begin(round_)

    @property
    def _is_answered(self) -> bool:
        return self._manifest is not None and self._state.answered == self._manifest.hash

    def _advance(self) -> None:
        """Do the next thing that manifest and task allow."""
        if self._work is not None or self._is_answered or self._delivery.entry is not None:
            return
        round_ = self._round()
        if round_ is None:
            return
        body = round_.manifest.body
        if body.model is None:
            if body.phase is not Phase.DONE:
                self._begin(round_)
        elif self._model is not None and self._model.plain_hash == body.model.plain_hash:
            self._begin(round_)
        elif body.model.cipher_bytes > self._bounds.max_model_bytes:
            size, limit = body.model.cipher_bytes, self._bounds.max_model_bytes
            self._decline(round_, f"a model of {size} bytes is above this device's limits.max_model_bytes = {limit}")
        else:
            self._model = None  # two would be held otherwise
            self._do(*self._fetch.begin(body.model, self._now_s))

    def _round(self) -> Round | None:
        """What this device is invited to, once manifest and task are here.

        Raises:
            Refused: they do not belong together; the task is forgotten.
        """
        if self._manifest is None or self._task is None:
            return None
        body, task, self._task = self._manifest.body, self._task, None
        if (task.header.job, *place(task.header)) != (body.job, body.round, body.attempt):
            raise Refused(Reason.WRONG_ROUND, "the task's round is not its manifest's")
        brief = open_brief(body.brief, task.body.brief_key)
        self._task = task
        return Round(self._manifest, task, brief)

    def _begin(self, round_: Round) -> None:
        """Manifest, task and model are here."""
        work = round_.work(self._model, self._state)
        if work.manifest.phase is not Phase.DONE:
            self._work = work
            self._do(Train(work))
            return
        self._do(SaveModel(work))
        self._persist(answered=work.manifest_hash)
        self._do(Finished())

    def _decline(self, round_: Round, reason: str) -> None:
        if round_.manifest.body.phase is Phase.DONE:
            self._log(logging.ERROR, "model.failed reason=%r", reason)
            self._task = None
            return
        self._work = round_.work(self._model, self._state)
        self._on_answer(self._work, declined(reason))

    def _on_answer(self, work: Work, answer: Answer) -> None:
        if self._work is None or work.manifest_hash != self._work.manifest_hash:
            return  # a newer manifest came in the meantime
        self._work = None
        entry = self._writer.update(work, answer)
        size, limit = len(entry.blob) + len(answer.residual or b""), self._bounds.max_outbox_bytes
        if size > limit:
            answer = declined(f"an update of {size} bytes is above this device's limits.max_outbox_bytes = {limit}")
            entry = self._writer.update(work, answer)
        if answer.update.declined:
            self._log(logging.WARNING, "round.declined round=%d reason=%r", work.manifest.round, answer.update.declined)
        self._do(StoreOutbox(entry, answer.residual), *self._delivery.put(entry, self._now_s))

    def _reserve(self) -> None:
        mark = self._sequence.reserve()
        if mark is not None:
            self._persist(sequence=mark)

    def _persist(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        self._do(PersistState(self._state))

    def _log(self, level: int, text: str, *args: object) -> None:
        self._do(Log(level, text, args))

    def _do(self, *actions: Action) -> None:
        self._actions += actions
