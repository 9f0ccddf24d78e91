"""What the device does next: takes events, returns actions; no I/O, no clock, no randomness of its own.

A manifest says what the round is, a task invites this device to it; with both, and the model that they name, the device
works and puts its answer into the outbox. Whatever is not believed is counted by its reason and dropped.
"""

import logging
from collections import Counter
from collections.abc import Callable

import msgspec

from edge_client.believe import BelievedManifest, BelievedTask, Judge
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
from edge_client.rounds import Bounds, Round, declined, place
from edge_client.sequence import Sequence
from edge_client.state import DeviceState, OutboxEntry
from edge_client.writer import Writer
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys
from fedloom.wire.brief import open_brief
from fedloom.wire.messages import Phase, Receipt, Verdict
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
        self._state = state
        self._entries = entries
        self._bounds = bounds
        self._judge = Judge(keys)
        self._sequence = Sequence(state.sequence)
        self._writer = Writer(keys, state.incarnation, self._sequence, entropy)
        self._delivery = Delivery(self.topics.up(keys.id), draw)
        self._fetch = Fetch(self.topics, draw)
        self._manifest: BelievedManifest | None = None
        self._task: BelievedTask | None = None
        self._early: BelievedTask | None = None
        """A task whose manifest has not come yet."""
        self._model: Model | None = None
        self._work: Work | None = None
        self._now_s = 0.0
        self._actions: list[Action] = []

    @property
    def wake_at_s(self) -> float | None:
        """When the next `Tick` is due."""
        due = (self._delivery.resend_at_s, self._fetch.again_at_s)
        return min((each for each in due if each is not None), default=None)

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """What to do about an event, at `now_s` on a monotonic clock."""
        self._now_s = now_s
        match event:
            case Started():
                self._start()
            case Connected(max_payload_bytes, is_flushed):
                self._do(self._writer.ready(), *self._delivery.connected(max_payload_bytes, is_flushed, now_s))
            case Disconnected():
                self._delivery.disconnected()
            case Came(topic, payload):
                self._on_message(topic, payload)
            case Tick(is_flushed):
                self._do(*self._delivery.tick(is_flushed, now_s), *self._fetch.tick(now_s))
            case Trained(work, answer):
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
            return self._judge.manifest(manifest, self._state).is_new
        except Refused:
            return False

    def _start(self) -> None:
        for entry in self._entries:
            is_open = entry.manifest == self._state.manifest_hash
            self._do(*self._delivery.restore(entry, is_open))
        self._do(Subscribe(self.topics.manifest), Subscribe(self._down))

    def _on_message(self, topic: str, payload: bytes) -> None:
        if not payload:
            return  # a retained message was cleared
        try:
            if topic == self.topics.manifest:
                self._on_manifest(self._judge.manifest(payload, self._state))
            elif topic == self._down:
                self._on_down(self._judge.down(payload))
            else:
                self._on_chunk(*self.topics.chunk_of(topic), payload)
        except Refused as refused:
            self._refuse(topic, refused)

    def _on_manifest(self, manifest: BelievedManifest) -> None:
        if self._manifest is not None and not manifest.is_new:
            return
        body = manifest.body
        if manifest.is_new:
            floor = max(self._state.time_floor, body.issued_at)
            place = {"manifest_version": body.version, "manifest_hash": manifest.hash, "time_floor": floor}
            self._persist(**place, **self._residual_left())
            self._do(*self._delivery.end())
        if self._work is not None:
            self._do(Abandon())
        self._do(*self._fetch.cancel())
        self._manifest, self._work, self._task = manifest, None, None
        if self._early is not None and self._early.header.manifest == manifest.hash:
            self._task, self._early = self._early, None
        where = (body.version, body.job.hex(), body.phase.value, body.round, body.attempt)
        self._log(logging.DEBUG, "manifest.accepted version=%d run=%s phase=%s round=%d attempt=%d", *where)
        if body.phase is Phase.DONE and (self._is_answered or body.model is None):
            self._do(Finished())
        self._advance()

    def _residual_left(self) -> dict[str, bytes]:
        """What a new round changes in the residual: it goes when an update that it may be part of has no receipt.

        That update may have been accepted and its receipt lost; then the residual has been added to the model already.
        What an encoding has lost once is lost, then, but never counted twice.
        """
        entry = self._delivery.entry
        return {"residual": b"", "residual_job": b""} if entry is not None and entry.has_residual else {}

    def _on_down(self, message: BelievedTask | Receipt) -> None:
        if isinstance(message, Receipt):
            self._on_receipt(message)
        elif self._manifest is not None and message.header.manifest == self._manifest.hash:
            self._task = message
            self._advance()
        else:
            self._keep_early(message)

    def _keep_early(self, task: BelievedTask) -> None:
        """One task may wait for its manifest: the latest."""
        if self._manifest is not None:
            body = self._manifest.body
            is_past = task.header.job == body.job and place(task.header) <= (body.round, body.attempt)
            if is_past or task.header.manifest == body.previous:
                raise Refused(Reason.OLD, "a task of a round before")
        early = self._early
        if early and early.header.job == task.header.job and place(task.header) < place(early.header):
            raise Refused(Reason.OLD, "a task of a round before the one that is awaited")
        self._early = task

    def _on_receipt(self, receipt: Receipt) -> None:
        entry = self._delivery.entry
        if entry is None or receipt.digest != entry.digest:
            raise Refused(Reason.OLD, "a receipt for an update that does not wait for one")
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

    def _refuse(self, topic: str, refused: Refused) -> None:
        """Count it; say so the 1st, 2nd, 4th, 8th … time, so that a flood does not fill the log."""
        self.refusals[refused.reason] += 1
        count = self.refusals[refused.reason]
        if count & (count - 1) == 0:
            level = logging.ERROR if refused.reason is Reason.CONFLICT else logging.WARNING
            text = "message.refused topic=%s reason=%s detail=%r count=%d"
            self._log(level, text, topic, refused.reason.value, refused.detail, count)

    def _log(self, level: int, text: str, *args: object) -> None:
        self._do(Log(level, text, args))

    def _do(self, *actions: Action) -> None:
        self._actions += actions
