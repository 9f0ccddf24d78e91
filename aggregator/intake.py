"""Takes what devices send: puts frames together, screens, admits, and answers each update with a receipt. No I/O."""

from collections import Counter
from typing import NamedTuple

from aggregator.admission import Candidate, Gate, believe, examine, screen
from aggregator.events import Acknowledge, Action, Publish, Store, Tell
from aggregator.fleet import Device, Fleet
from aggregator.notices import UpdateSeen
from aggregator.records import Answer, RoundRecord
from aggregator.round import RoundState
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
        self, gate: Gate, state: RoundState, earlier: dict[bytes, Answer], writer: Writer, assembler: Assembler
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

    @property
    def opened(self) -> RoundRecord:
        return self._gate.opened

    def arrived(self, received: Received, utc_s: float) -> list[Action]:
        """A message on a device's uplink."""
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
            if answer := self._repeated(candidate):
                return [done, *self._receipt(candidate.device, candidate.envelope.header, answer)]
            believe(candidate)
        except Refused as refusal:
            self.refusals[refusal.reason] += 1
            return [done]
        return self._admit(candidate, received, utc_s)

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
        return known if known and known.digest == candidate.digest else self._earlier.get(candidate.digest)

    def _is_being_stored(self, candidate: Candidate) -> bool:
        pending = self.pending.get(candidate.device.id)
        return pending is not None and pending.digest == candidate.digest

    def _admit(self, candidate: Candidate, received: Received, utc_s: float) -> list[Action]:
        """A signed message that is new: store it, or say why not."""
        device, header, digest = candidate.device, candidate.envelope.header, candidate.digest
        size = len(candidate.envelope.blob)
        try:
            if candidate.is_late or not self.is_open:
                answer = Answer(device.id, digest, Verdict.LATE, LATE_REASON, size_bytes=size)
            else:
                self._refuse_second(device)
                answer = examine(candidate, self._gate, utc_s)
                self.pending[device.id] = _Pending(digest, received)
                return [Store(self.opened.manifest_version, answer)]
        except Refused as refusal:
            answer = Answer(device.id, digest, Verdict.REJECTED, str(refusal), size_bytes=size)
            self.state.reject(answer)
        return [Acknowledge(received), *self._receipt(device, header, answer), self._notice(device, answer)]

    def _refuse_second(self, device: Device) -> None:
        if device.id in self.state.answers or device.id in self.pending:
            raise Refused(Reason.CONFLICT, "another update of this device came first")

    def _receipt(self, device: Device, place: Header, answer: Answer) -> list[Action]:
        return [Publish(self._fleet.topics.down(device.id), self._writer.receipt(device, place, answer))]

    def _notice(self, device: Device, answer: Answer) -> Tell:
        opened = self.opened
        return Tell(
            UpdateSeen(opened.round, opened.attempt, device.name, answer.verdict, answer.reason, answer.size_bytes)
        )


def by_digest(answers: tuple[Answer, ...]) -> dict[bytes, Answer]:
    """For receipts that have to be repeated."""
    return {answer.digest: answer for answer in answers}
