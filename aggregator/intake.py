"""Takes what devices send: puts frames together, screens, admits, and answers each update with a receipt. No I/O."""

from collections import Counter
from typing import NamedTuple

from aggregator.admission import Candidate, Gate, believe, examine, screen
from aggregator.attendance import Attendance
from aggregator.events import Acknowledge, Action, Now, Publish, Store, Tell
from aggregator.fleet import Device, Fleet
from aggregator.notices import UpdateSeen
from aggregator.records import Answer, RoundRecord
from aggregator.round import RoundState
from aggregator.throttle import Throttle
from aggregator.writer import Writer, place_of
from fedloom.errors import Reason, Refused
from fedloom.link.base import Received
from fedloom.wire.chunks import Assembler, is_frame
from fedloom.wire.envelope import Header
from fedloom.wire.messages import Verdict

LATE_REASON = "the round is closed"


class _Pending(NamedTuple):
    digest: bytes
    received: Received
    """The broker keeps it until the answer is durable here."""


class Intake:
    """The updates of one round. A new one is made for each; `earlier` are the answers of the round before."""

    def __init__(
        self,
        gate: Gate,
        state: RoundState,
        earlier: dict[bytes, Answer],
        writer: Writer,
        assembler: Assembler,
        throttle: Throttle,
        attendance: Attendance,
    ) -> None:
        self.state = state
        self.pending: dict[bytes, _Pending] = {}
        """Answers that are being stored, by device."""
        self.is_open = True
        """False from the decision to close: what comes then is late."""
        self.refusals: Counter[Reason] = Counter()
        """Messages that were dropped without a word, by reason."""
        self._gate = gate
        self._earlier = earlier
        self._writer = writer
        self._assembler = assembler
        self._throttle = throttle
        self._attendance = attendance
        self._refused: Counter[bytes] = Counter()
        """Updates of each device that were rejected or late."""

    @property
    def opened(self) -> RoundRecord:
        return self._gate.opened

    def arrived(self, received: Received, now: Now) -> list[Action]:
        """A message on a device's uplink that the throttle has let pass."""
        done: Action = Acknowledge(received)
        try:
            blob: bytes | None = received.payload
            if is_frame(received.payload):
                blob = self._assembler.accept(received.payload, received.topic)
            if blob is None:
                return [done]
            candidate = screen(received.topic, blob, self._gate)
            if self._is_being_stored(candidate):
                return [done]
            self._refuse_undecided(candidate)
            if answer := self._repeated(candidate):
                return [done, *self._receipt_again(candidate, answer, now)]
            believe(candidate)
        except Refused as refusal:
            self.refusals[refusal.reason] += 1
            return [done]
        self._attendance.spoke(candidate.device.id)
        return self._admit(candidate, received, now.utc_s)

    def stored(self, answers: tuple[Answer, ...]) -> list[Action]:
        """Answers are durable: the devices may know."""
        actions: list[Action] = []
        place = place_of(self.opened)
        for answer in answers:
            if pending := self.pending.pop(answer.device, None):
                actions.append(Acknowledge(pending.received))
            self.state.record(answer._replace(body=b""))
            if device := self._fleet.get(answer.device):
                actions += self._receipt(device, place, answer)
                actions.append(self._notice(device, answer))
        return actions

    @property
    def _fleet(self) -> Fleet:
        return self._gate.fleet

    def _repeated(self, candidate: Candidate) -> Answer | None:
        """The answer to a message that has come before."""
        device = candidate.device.id
        known = self.state.answers.get(device) or self.state.rejected.get(device)
        if known and known.digest == candidate.digest:
            return known
        if candidate.is_late and self._throttle.late.get(device) == candidate.digest:
            return _late(candidate)
        return self._earlier.get(candidate.digest)

    def _is_being_stored(self, candidate: Candidate) -> bool:
        pending = self.pending.get(candidate.device.id)
        return pending is not None and pending.digest == candidate.digest

    def _refuse_undecided(self, candidate: Candidate) -> None:
        """A rival of an answer that is not durable yet earns no receipt: a crash may still make it the first."""
        if self.is_open and not candidate.is_late and candidate.device.id in self.pending:
            raise Refused(Reason.CONFLICT)

    def _admit(self, candidate: Candidate, received: Received, utc_s: float) -> list[Action]:
        """A signed message that is new: store it, or say why not."""
        device, header, digest = candidate.device, candidate.envelope.header, candidate.digest
        try:
            if candidate.is_late or not self.is_open:
                answer = _late(candidate)
                self._throttle.late[device.id] = digest
            else:
                self._refuse_second(device)
                answer = examine(candidate, self._gate, utc_s)
                self.pending[device.id] = _Pending(digest, received)
                return [Store(self.opened.manifest_version, answer)]
        except Refused as refusal:
            answer = Answer(device.id, digest, Verdict.REJECTED, str(refusal), size_bytes=len(candidate.envelope.blob))
            self.state.reject(answer)
        return [Acknowledge(received), *self._receipt(device, header, answer), *self._refusal_notice(device, answer)]

    def _refuse_second(self, device: Device) -> None:
        if device.id in self.state.answers:
            raise Refused(Reason.CONFLICT, "another update of this device came first")

    def _receipt(self, device: Device, place: Header, answer: Answer) -> list[Action]:
        return [Publish(self._fleet.topics.down(device.id), self._writer.receipt(device, place, answer))]

    def _receipt_again(self, candidate: Candidate, answer: Answer, now: Now) -> list[Action]:
        if not self._throttle.may_repeat(candidate.device.id, now.monotonic_s):
            return []
        return self._receipt(candidate.device, candidate.envelope.header, answer)

    def _refusal_notice(self, device: Device, answer: Answer) -> list[Action]:
        """The operator hears of a device's 1st, 2nd, 4th, 8th … refusal in a round."""
        self._refused[device.id] += 1
        return [self._notice(device, answer)] if self._refused[device.id].bit_count() == 1 else []

    def _notice(self, device: Device, answer: Answer) -> Tell:
        opened = self.opened
        return Tell(
            UpdateSeen(opened.round, opened.attempt, device.name, answer.verdict, answer.reason, answer.size_bytes)
        )


def by_digest(answers: tuple[Answer, ...]) -> dict[bytes, Answer]:
    """For receipts that have to be repeated."""
    return {answer.digest: answer for answer in answers}


def _late(candidate: Candidate) -> Answer:
    size = len(candidate.envelope.blob)
    return Answer(candidate.device.id, candidate.digest, Verdict.LATE, LATE_REASON, size_bytes=size)
