"""What an app wants delivered, and how far that has come. No I/O, no clock."""

from collections.abc import Collection, Iterable

import msgspec

from aggregator.cohort import Cohort
from aggregator.cohorts.memory import Memory
from aggregator.events import FusionResult
from aggregator.exchange.letters import Answered, Entry, Letter, Settled
from aggregator.fleet import Fleet
from aggregator.intake import Intake
from aggregator.opening import Broadcast, Opener, Place, new_model_key
from aggregator.phases import Step
from aggregator.progress import Opened, Progress, Setup
from aggregator.records import Answer, ClosedRound, Invitation, NewModel, Outcome, RoundRecord, Snapshot
from aggregator.round import RoundState
from aggregator.writer import Writer
from fedloom.wire.messages import MAX_TEXT, Closed, Phase, Verdict
from fedloom.wire.model_blob import seal_model
from fedloom.wire.records import Reply

UNKNOWN, NODE_UNAVAILABLE = 0, 5
"""Of Flower's ErrorCode."""
_OUT = Reply(None, NODE_UNAVAILABLE, "the device is not known, or revoked")
MIN_DEADLINE_S, MAX_DEADLINE_S = 1.0, 604_800.0


class Errands(Progress):
    """Takes the place of a job's progress: the next round is for the letters that have waited longest.

    Those with the same request go with them, one a device.
    """

    def __init__(self, setup: Setup, snapshot: Snapshot, writer: Writer, memory: Memory, fleet: Fleet) -> None:
        self._resumed: set[bytes] = set()
        """Devices of the round that the process before has left open, for which the app has not asked again yet."""
        self._left: dict[bytes, Reply | None] = {}
        """What they have answered, where that round was over before the app has asked."""
        self._is_abandoned = False
        """The app has asked something else: nobody waits for that round."""
        super().__init__(setup, snapshot, writer, memory)
        self.next = Step(Phase.EXCHANGE, snapshot.newest.round + 1 if snapshot.newest else 1)
        self._writer = writer
        self._fleet = fleet
        self._waiting: dict[str, Letter] = {}
        """In the order in which they came."""
        self._under_way: dict[bytes, Letter] = {}
        """Of the round that is open, by device."""
        self._awaited: set[str] = set()
        """Of those, what the app still waits for."""
        self._settled: list[Settled] = []
        self._answered: Answered | None = None
        self._request = b""
        """Of the round that is being opened."""

    @property
    def is_idle(self) -> bool:
        return not self._waiting

    @property
    def is_unwanted(self) -> bool:
        """Whether a round is open whose replies nobody waits for any more."""
        return self._is_abandoned or (bool(self._under_way) and not self._awaited)

    def take(self, letters: Iterable[Letter]) -> None:
        """Have these wait for their round; those for devices that may not take part are settled at once."""
        for letter in letters:
            if self._is_out(letter.device):
                self._settle(letter, _OUT)
            elif not self._is_resumed(letter):
                self._waiting[letter.id] = letter

    def withdraw(self, ids: Collection[str]) -> None:
        """Nobody waits for these any more."""
        for each in ids:
            if letter := self._waiting.pop(each, None):
                self._settle(letter, None)
        self._awaited.difference_update(ids)

    def drop(self, revoked: Collection[bytes]) -> None:
        """These devices may not take part any more: what waits for its round is settled."""
        for letter in [each for each in self._waiting.values() if each.device in revoked]:
            del self._waiting[letter.id]
            self._settle(letter, _OUT)

    def is_hopeless(self, silent: Collection[bytes]) -> bool:
        """Whether all that a round still waits for are revoked."""
        return bool(silent) and all(map(self._is_out, silent))

    def end(self) -> None:
        """What comes next is the end."""
        self._waiting.clear()
        self._awaited.clear()
        self.next = Step(Phase.DONE, self.next.round)

    def settled(self) -> tuple[Settled, ...]:
        """What has been settled since this was last asked."""
        settled, self._settled = tuple(self._settled), []
        return settled

    def collect(self, intake: Intake, result: FusionResult | None, reason: str) -> None:
        """The round that is open ends."""
        replies = dict(result.replies) if result else {}
        outcomes = {
            device: replies.get(device)
            or _failure(intake.state, device, reason)
            or (_OUT if self._is_out(device) else None)
            for device in (each.device for each in intake.opened.invitations)
        }
        for device, letter in self._under_way.items():
            self._settle(letter, outcomes[device])
        if self.broadcast:
            request = self.broadcast.sealed.ref.plain_hash
            self._answered = Answered(intake.opened.round, request, tuple(outcomes.items()))
        self._left = {device: outcomes[device] for device in self._resumed}
        self._resumed.clear()
        self._is_abandoned = False
        self._under_way.clear()
        self._awaited.clear()

    def entry(self) -> Entry:
        """What the turn that is made now adds to the journal."""
        entry = Entry(self._answered, self.next.round if self._request else 0, self._request)
        self._answered, self._request = None, b""
        return entry

    def open_next(self, ready: Collection[bytes], utc_s: float) -> Opened:
        """The next round; whether its devices are ready does not matter, they are invited when they are."""
        step, letters = self.next, self._next_letters()
        self._under_way = {each.device: each for each in letters}
        self._awaited = {each.id for each in letters}
        self._request = letters[0].request if letters else b""
        key = new_model_key(self._setup.entropy)
        self.broadcast = self._seal(self._request, step.round, key) if letters else None
        invitations = tuple(Invitation(each, train=False, evaluate=False) for each in sorted(self._under_way))
        place = Place(self._job_id, self._last_version, self._last_hash, self._closes)
        cohort, job = Cohort(invitations, len(invitations)), self._setup.job
        deadline_s = max((each.timeout_s for each in letters), default=MIN_DEADLINE_S)
        rounds = msgspec.structs.replace(job.rounds, deadline_s=min(MAX_DEADLINE_S, max(MIN_DEADLINE_S, deadline_s)))
        opener = Opener(
            msgspec.structs.replace(job, rounds=rounds), self._setup.root, self._writer, self._setup.entropy
        )
        record = opener.open(step, place, job.training, cohort, self.broadcast, utc_s)
        self._last_version, self._last_hash = record.manifest_version, record.manifest_hash
        return Opened(record, None)

    def conclude(
        self,
        opened: RoundRecord,
        outcome: Outcome,
        reason: str,
        result: FusionResult | None,
        answers: Iterable[Answer],
    ) -> tuple[ClosedRound, NewModel | None]:
        """A round without a reply is over like any other: it is not tried again."""
        self._closes = Closed(opened.round, opened.attempt, outcome)
        self.next = Step(self.next.phase, opened.round + 1)
        return ClosedRound(opened.manifest_version, outcome, reason, {}, b"", opened.manifest_version + 1), None

    def _next_letters(self) -> list[Letter]:
        """The oldest one's request, for every device that waits for it."""
        if self.next.phase is Phase.DONE:
            return []
        request, letters = next(iter(self._waiting.values())).request, dict[bytes, Letter]()
        for letter in self._waiting.values():
            if letter.request == request:
                letters.setdefault(letter.device, letter)
        for letter in letters.values():
            del self._waiting[letter.id]
        return list(letters.values())

    def _resume(self, newest: RoundRecord, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._closes = Closed(newest.round, newest.attempt, outcome)
        elif newest.phase is Phase.EXCHANGE:
            self.broadcast = self._seal(self._setup.request, newest.round, newest.model_key)
            self._resumed = {each.device for each in newest.invitations}

    def _is_resumed(self, letter: Letter) -> bool:
        """Whether it asks what the round asks that the process before has left open, and goes on with that."""
        if not (self._resumed or self._left):
            return False
        if letter.request != self._setup.request:
            self._is_abandoned = bool(self._resumed) and not self._under_way
            return False
        if letter.device in self._left:
            self._settle(letter, self._left.pop(letter.device))
            return True
        if letter.device not in self._resumed:
            return False
        self._resumed.discard(letter.device)
        self._under_way[letter.device] = letter
        self._awaited.add(letter.id)
        return True

    def _seal(self, request: bytes, number: int, key: bytes) -> Broadcast:
        return Broadcast(number, key, seal_model(request, number, key, self._chunk_bytes))

    def _is_out(self, device: bytes) -> bool:
        known = self._fleet.get(device)
        return known is None or known.revoked

    def _settle(self, letter: Letter, reply: Reply | None) -> None:
        self._settled.append(Settled(letter.id, reply))


def _failure(state: RoundState, device: bytes, reason: str) -> Reply | None:
    """Why a device has no reply; None where it is just silent."""
    said = {each.device: each for each in (*state.rejected.values(), *state.answers.values())}.get(device)
    if said is None:
        return None
    match said.verdict:
        case Verdict.DECLINED:
            return Reply(None, NODE_UNAVAILABLE, said.reason)
        case Verdict.REJECTED:
            return Reply(None, UNKNOWN, f"the reply was refused: {said.reason}"[:MAX_TEXT])
        case _:
            return Reply(None, UNKNOWN, f"the reply is lost: {reason}"[:MAX_TEXT])
