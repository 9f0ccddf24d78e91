"""Takes what devices send: puts frames together, screens, admits, and answers each update with a receipt.

No I/O but that of the assembler's shelf.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from aggregator.admission import Candidate, Gate, believe, examine, printable, screen
from aggregator.assembler import Assembler
from aggregator.attendance import Attendance
from aggregator.bases import Base
from aggregator.cohorts.memory import Memory
from aggregator.events import Acknowledge, Action, Now, Publish, Store, Tell
from aggregator.fleet import Device, Fleet
from aggregator.notices import UpdateSeen
from aggregator.pace import Pace
from aggregator.records import Answer, AnswerKey, RoundRecord
from aggregator.round import RoundState
from aggregator.throttle import Throttle
from aggregator.writer import Writer, place_of
from fedloom.errors import Reason, Refused
from fedloom.link.base import Received
from fedloom.wire.chunks import TRANSFER_BYTES, Transfer, is_frame, is_question, read_question
from fedloom.wire.envelope import Header
from fedloom.wire.messages import Verdict

LATE_REASON = "the round is closed"
MAX_SHARE = 2
"""Updates of one device in one buffer: one that was on its way when it was opened, and one for its own manifest."""
MAX_HELD_BYTES = 64 * 2**20
"""That wait while a full buffer is being fused."""


Kind = TypeVar("Kind")


class _Pending(NamedTuple):
    digest: bytes
    received: Received
    """The broker keeps it until the answer is durable here."""


class Held(NamedTuple):
    """An answer that came while a full buffer was being fused: it is for the next one."""

    received: Received
    """It is acknowledged."""
    blob: bytes


class Intake:
    """The updates of one round. A new one is made for each; `earlier` are answers that rounds before have counted."""

    def __init__(
        self,
        gate: Gate,
        state: RoundState,
        earlier: dict[bytes, Answer],
        writer: Writer,
        assembler: Assembler,
        throttle: Throttle,
        attendance: Attendance,
        pace: Pace,
        memory: Memory,
    ) -> None:
        self.state = state
        self.pending: dict[AnswerKey, _Pending] = {}
        """Answers that are being stored."""
        self.held: dict[AnswerKey, Held] = {}
        self._earlier = earlier
        self.is_open = True
        """False from the decision to close."""
        self.is_over = False
        """True once the end of the round is durable: what comes then is late."""
        self.refusals: Counter[Reason] = Counter()
        """Messages that were dropped without a word, by reason."""
        self._gate = gate
        self._counted = {each.key for each in earlier.values()}
        self._earlier_of = {digest[:TRANSFER_BYTES]: answer for digest, answer in earlier.items()}
        self._records = {each.record.manifest_version: each.record for each in gate.bases.values()}
        self._writer = writer
        self._assembler = assembler
        self._throttle = throttle
        self._attendance = attendance
        self._pace = pace
        self._memory = memory
        self._refused: Counter[bytes] = Counter()
        """Updates of each device that were rejected or late."""

    @property
    def opened(self) -> RoundRecord:
        return self._gate.opened

    @property
    def bases(self) -> Iterable[Base]:
        """The rounds to which answers count, this one the last."""
        return self._gate.bases.values()

    def arrived(self, received: Received, now: Now) -> list[Action]:
        """A message on a device's uplink that the throttle has let pass."""
        try:
            blob: bytes | None = received.payload
            if is_question(received.payload):
                return [Acknowledge(received), *self._asked(received, now)]
            if is_frame(received.payload):
                self._sender(received.topic)
                blob = self._assembler.accept(received.payload, received.topic, now.monotonic_s)
        except Refused as refusal:
            self.refusals[refusal.reason] += 1
            return [Acknowledge(received)]
        return [Acknowledge(received)] if blob is None else self.take(blob, received, now)

    def take(self, blob: bytes, received: Received, now: Now) -> list[Action]:
        """A whole message, the last part of which was `received`."""
        done: Action = Acknowledge(received)
        try:
            candidate = screen(received.topic, blob, self._gate)
            if self._is_being_stored(candidate):
                return [done]
            self._refuse_undecided(candidate)
            if answer := self._repeated(candidate):
                return [done, *self._receipt_again(candidate, answer, now)]
            self._refuse_too_many(candidate)
            believe(candidate)
        except Refused as refusal:
            self.refusals[refusal.reason] += 1
            return [done]
        self._attendance.spoke(candidate.device.id)
        return self._admit(candidate, received, now)

    def stored(self, answers: tuple[Answer, ...], now: Now) -> list[Action]:
        """Answers are durable: the devices may know."""
        actions: list[Action] = []
        for answer in answers:
            if pending := self.pending.pop(answer.key, None):
                actions.append(Acknowledge(pending.received))
            self.state.record(answer._replace(body=b""))
        if self.state.outcome(now.monotonic_s) is not None:
            self._pace.ending()  # the next round opens at once: it would invite who is leaving
        for answer in answers:
            if device := self._fleet.get(answer.device):
                actions += self._receipt(device, place_of(self._records[answer.base]), answer, now)
                actions.append(self._notice(device, answer))
        return actions

    @property
    def _fleet(self) -> Fleet:
        return self._gate.fleet

    def _sender(self, topic: str) -> Device:
        """Whose pieces are kept, before any signature can be looked at: those of devices that may take part."""
        device = self._fleet.get(self._fleet.topics.device_of(topic))
        if device is None:
            raise Refused(Reason.UNKNOWN_SENDER)
        if device.revoked:
            raise Refused(Reason.REVOKED)
        return device

    def _asked(self, received: Received, now: Now) -> list[Action]:
        """A question about a transfer, which anybody may have sent: the answer is sealed, short, and not said often."""
        transfer = read_question(received.payload, self._gate.max_bytes)
        device = self._sender(received.topic)
        is_taken = self.is_open or self._gate.is_buffer
        if not is_taken or not any(device.id in base.invited for base in self.bases):
            return []  # the next manifest is the answer
        if any(each.digest.startswith(transfer.id) for each in self._of(device, self.pending)):
            return []  # its receipt will be
        if not self._throttle.may_repeat(device.id, now.monotonic_s):
            return []  # before it costs anything: the bits of 65,535 frames take 10 ms
        if answer := self._answer_to(device, transfer):
            place = place_of(self._records.get(answer.base, self.opened))
            return self._receipt(device, place, answer, now)
        frames = self._assembler.missing(transfer, received.topic, now.monotonic_s)
        message = self._writer.missing(device, place_of(self.opened), transfer.id, frames)
        return [Publish(self._fleet.topics.down(device.id), message)]

    def _answer_to(self, device: Device, transfer: Transfer) -> Answer | None:
        """The answer to an update of which only the start of the hash is known."""
        known = [*self._of(device, self.state.answers), *self._of(device, self.state.rejected)]
        earlier = self._earlier_of.get(transfer.id)
        if earlier is not None and earlier.device == device.id:
            known.append(earlier)
        return next((each for each in known if each.digest.startswith(transfer.id)), None)

    def _of(self, device: Device, answers: Mapping[AnswerKey, Kind]) -> list[Kind]:
        """What there is of a device, by the rounds that it may be of."""
        return [each for base in self._records if (each := answers.get((device.id, base)))]

    def _repeated(self, candidate: Candidate) -> Answer | None:
        """The answer to a message that has come before."""
        if candidate.base:
            known = self.state.answers.get(_key(candidate)) or self.state.rejected.get(_key(candidate))
            if known and known.digest == candidate.digest:
                return known
        elif self._throttle.late.get(candidate.device.id) == candidate.digest:
            return _late(candidate)
        return self._earlier.get(candidate.digest)

    def _is_being_stored(self, candidate: Candidate) -> bool:
        pending = self.pending.get(_key(candidate))
        return pending is not None and pending.digest == candidate.digest

    def _refuse_undecided(self, candidate: Candidate) -> None:
        """A rival of an answer that is not durable yet earns no receipt: a crash may still make it the first."""
        if self.is_open and candidate.base and _key(candidate) in self.pending:
            raise Refused(Reason.CONFLICT)

    def _refuse_too_many(self, candidate: Candidate) -> None:
        """No device fills a buffer alone. What is too much for this one earns no receipt, so that it comes again."""
        device = candidate.device.id
        share = self.state.counts[device] + sum(each == device for each, _ in self.pending)
        if self._gate.is_buffer and self.is_open and candidate.base and share >= MAX_SHARE:
            raise Refused(Reason.TOO_MANY)

    def _admit(self, candidate: Candidate, received: Received, now: Now) -> list[Action]:
        """A signed message that is new: store it, or say why not."""
        device, header, digest = candidate.device, candidate.envelope.header, candidate.digest
        try:
            if candidate.base is None or (self.is_over and not self._gate.is_buffer):
                answer = _late(candidate)
                self._throttle.late[device.id] = digest
            elif not self.is_open:
                self._hold(candidate, received)
                return [Acknowledge(received)]
            else:
                self._refuse_second(candidate)
                answer = self._remember(examine(candidate, self._gate, now.utc_s), candidate.base, now)
                self.pending[answer.key] = _Pending(digest, received)
                return [Store(self.opened.manifest_version, answer)]
        except Refused as refusal:
            size, (_, base) = len(candidate.envelope.blob), _key(candidate)
            reason = printable(str(refusal))  # it may quote what the device has sent
            answer = Answer(device.id, digest, Verdict.REJECTED, reason, size_bytes=size, base=base)
            self.state.reject(answer)
        receipt = self._receipt(device, header, answer, now)
        return [Acknowledge(received), *receipt, *self._refusal_notice(device, answer)]

    def _remember(self, answer: Answer, base: Base, now: Now) -> Answer:
        """With what is to be kept of the device."""
        if answer.standing is None:
            return answer
        news = answer.standing
        if base.opened_s is not None and news.answered:
            news = news._replace(seconds=now.monotonic_s - base.opened_s)
        return answer._replace(standing=self._memory.heard(news))

    def _hold(self, candidate: Candidate, received: Received) -> None:
        """Keep it for the next buffer. A round has no say until its end is durable: it may yet be open after a crash.

        What is not kept is sent again, and so is all of it should we die.
        """
        if not self._gate.is_buffer:
            return
        size = sum(len(each.blob) for each in self.held.values()) + len(candidate.envelope.blob)
        if size <= MAX_HELD_BYTES and sum(each == candidate.device.id for each, _ in self.held) < MAX_SHARE:
            self.held.setdefault(_key(candidate), Held(received.settled(), candidate.envelope.blob))

    def _refuse_second(self, candidate: Candidate) -> None:
        if _key(candidate) in self.state.answers or _key(candidate) in self._counted:
            raise Refused(Reason.CONFLICT, "another update of this device came first")

    def _receipt(self, device: Device, place: Header, answer: Answer, now: Now) -> list[Action]:
        """The word on an update; a device that has a say in the open round yet is wanted at once."""
        is_wanted = device.id in self.state.silent or answer.verdict is Verdict.REJECTED
        come_back_s = 0 if is_wanted else self._pace.come_back_s(device.id, self.opened.manifest_hash, now.monotonic_s)
        receipt = self._writer.receipt(device, place, answer, come_back_s)
        return [Publish(self._fleet.topics.down(device.id), receipt)]

    def _receipt_again(self, candidate: Candidate, answer: Answer, now: Now) -> list[Action]:
        if not self._throttle.may_repeat(candidate.device.id, now.monotonic_s):
            return []
        return self._receipt(candidate.device, candidate.envelope.header, answer, now)

    def _refusal_notice(self, device: Device, answer: Answer) -> list[Action]:
        """The operator hears of a device's 1st, 2nd, 4th, 8th … refusal in a round."""
        self._refused[device.id] += 1
        return [self._notice(device, answer)] if self._refused[device.id].bit_count() == 1 else []

    def _notice(self, device: Device, answer: Answer) -> Tell:
        opened = self.opened
        base = self._records.get(answer.base, opened)
        return Tell(
            UpdateSeen(
                opened.round,
                opened.attempt,
                device.name,
                answer.verdict,
                answer.reason,
                answer.size_bytes,
                staleness=opened.round - base.round,
            )
        )


def _key(candidate: Candidate) -> AnswerKey:
    """What its answer is named by; no round has the number 0."""
    return candidate.device.id, candidate.base.record.manifest_version if candidate.base else 0


def _late(candidate: Candidate) -> Answer:
    size = len(candidate.envelope.blob)
    return Answer(candidate.device.id, candidate.digest, Verdict.LATE, LATE_REASON, size_bytes=size)
