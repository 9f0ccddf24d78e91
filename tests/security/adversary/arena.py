"""One fleet for many scripts: each is on for a few rounds, then lets go; then the invariants are checked."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from adversary.cases import Case, Outcome
from adversary.fleet import DEVICES, PATIENCE_S, Heard, HostileFleet, Listener, name_of, refusals, write_job
from adversary.invariants import Auditor
from adversary.proxy import Script
from aggregator.notices import RoundClosed, RoundOpened, UpdateSeen
from fedloom.wire.messages import Phase, Verdict
from simulation.broker import BrokerKind
from simulation.processes import FleetError

COUNT = 1_000_000
"""Rounds of the job: more than any number of scripts sees."""
CALM = 2
"""Rounds that all devices must do, one after the other, before a script begins and after it has let go."""


class Seen(NamedTuple):
    """What was observed of a script."""

    closed: list[RoundClosed]
    """Rounds that were opened and closed while it was on."""
    refusals: Counter[str]
    acted: int
    """Messages that the script touched."""
    accepted: list[frozenset[str]]
    """Whose updates were accepted, of each round that cannot have begun before the script."""


class Arena:
    """A fleet that has finished one run ("last week") and is in the middle of the next; a context manager."""

    def __init__(self, directory: Path, broker: BrokerKind = "auto") -> None:
        self._directory = directory
        self._fleet = HostileFleet(directory, broker)
        self.is_sound = True
        """False from the first script that was not survived."""
        self._is_flooded = False
        """The aggregator may throttle devices for what a script has done in their name."""

    def __enter__(self) -> "Arena":
        fleet = self._fleet
        try:
            fleet._start()
            self._auditor = Auditor(fleet)
            listener = Listener(fleet.notices(PATIENCE_S))
            heard = listener.join()
            fleet.wait()
            self._auditor.check(heard)
            fleet.proxy.last_week = list(fleet.proxy.remembered)
            fleet.run_again(write_job(self._directory / "second.toml", count=COUNT, seed=2))
            self._listener = Listener(fleet.notices(PATIENCE_S))
            self._checked = self._await_calm(0, "the second run")
        except BaseException:
            fleet.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._fleet.stop()
        with contextlib.suppress(FleetError):  # it was stopped in the middle of its job
            self._listener.join()

    @property
    def has_mosquitto(self) -> bool:
        broker = self._fleet.broker
        return broker is not None and broker.kind == "mosquitto"

    def suits(self, case: Case) -> bool:
        """Whether a script can be played here: those before were survived, and left nothing that this one minds."""
        return self.is_sound and not (self._is_flooded and case.outcome is Outcome.UNDISTURBED)

    def play(self, case: Case) -> Seen:
        """Let a script be on, and let go; then check the invariants.

        Raises:
            AssertionError: an invariant is broken, or the job does not go on.
        """
        self.is_sound = False
        proxy, listener = self._fleet.proxy, self._listener
        refused = refusals(self._fleet.witness)
        proxy.follow(case.make())
        start = len(listener.heard)
        if case.is_noticed:
            self._await_notice()
        else:
            listener.wait_for(
                lambda heard: _is_enough(case, _closed(heard)) and proxy.acted >= case.touches,
                start,
                f"{case.name}: {case.rounds} rounds and {case.touches} messages",
            )
        # The aggregator tells what it has dropped when it closes a round; `judge` says what has not come by then.
        became(lambda: not _unseen(case, self._refusals_since(start, refused)), PATIENCE_S)
        under, acted = len(listener.heard), proxy.acted
        proxy.follow(Script())
        if case.reconnects:
            proxy.hang_up(*case.reconnects)
        self._is_flooded = self._is_flooded or case.floods
        end = self._await_calm(under, f"{case.name} has let go")
        self._auditor.check(listener.heard[max(0, self._checked - 1) : end])
        self._checked = end
        assert not proxy.errors, proxy.errors
        seen = self._refusals_since(start, refused)
        self.is_sound = True
        return Seen(_closed(listener.heard[start:under]), seen, acted, _accepted(listener.heard[start:under]))

    def _refusals_since(self, start: int, refused: Counter[str]) -> Counter[str]:
        """By devices since they had refused so much, by the aggregator since so many notices."""
        return refusals(self._fleet.witness) - refused + _verdicts(self._listener.heard[start:])

    def _await_calm(self, start: int, what: str) -> int:
        """Until all devices take part again, round after round; returns how many notices there are by then."""
        return start + len(self._listener.wait_for(_is_calm, start, what))

    def _await_notice(self) -> None:
        """Until every client has hung up, which it says in its log."""
        logs = [self._fleet.directory / "aggregator.log", *(self._fleet.log(device) for device in DEVICES)]
        before = [log.read_text().count("link.disconnected") for log in logs]
        wait_until(
            lambda: all(log.read_text().count("link.disconnected") > n for log, n in zip(logs, before, strict=True))
        )


def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll, with a deadline."""
    assert became(is_so, PATIENCE_S), f"not within {PATIENCE_S} s"


def became(is_so: Callable[[], bool], within_s: float) -> bool:
    """Poll; whether it came true in time."""
    give_up_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() >= give_up_s:
            return False
        time.sleep(0.02)
    return True


def judge(case: Case, seen: Seen) -> None:
    """Whether what was seen is what the table says.

    Raises:
        AssertionError: it is not.
    """
    said = [(each.outcome, each.accepted, each.reason) for each in seen.closed]
    assert seen.acted or case.is_noticed, "the script did nothing"
    match case.outcome:
        case Outcome.UNDISTURBED:
            assert all(each.outcome == "done" and is_full(each) for each in seen.closed), said
        case Outcome.CARRIES_ON:
            assert any(each.outcome == "done" for each in seen.closed), said
        case Outcome.HELD_UP:
            assert seen.closed[-1].outcome == "aborted", said
    if case.absent:
        names = {name_of(device) for device in case.absent}
        assert seen.accepted, "no whole round was seen"
        assert not any(names & each for each in seen.accepted), f"{sorted(names)} took part: {seen.accepted}"
    missing = _unseen(case, seen.refusals)
    assert not missing, f"not seen: {missing}; seen: {dict(seen.refusals)}"


def _unseen(case: Case, seen: Counter[str]) -> list[str]:
    """Refusals that the table promises and that have not come."""
    return sorted(set(case.refusals) - seen.keys())


def is_full(closed: RoundClosed) -> bool:
    """Whether every device's update is in it."""
    return closed.accepted == len(DEVICES)


def _is_enough(case: Case, closed: Sequence[RoundClosed]) -> bool:
    """Whether so many rounds are over; where they carry on, one of them may be done only when it is tried again."""
    is_done = case.outcome is not Outcome.CARRIES_ON or any(each.outcome == "done" for each in closed)
    return len(closed) >= case.rounds and is_done


def _closed(heard: Sequence[Heard]) -> list[RoundClosed]:
    """Rounds of which we have heard both opening and end."""
    opened = {(h.notice.round, h.notice.attempt) for h in heard if isinstance(h.notice, RoundOpened)}
    notices = [each.notice for each in heard if isinstance(each.notice, RoundClosed)]
    return [each for each in notices if (each.round, each.attempt) in opened]


def _accepted(heard: Sequence[Heard]) -> list[frozenset[str]]:
    """Of the first round, devices may have heard before."""
    said = [each.notice for each in heard]
    updates = [each for each in said if isinstance(each, UpdateSeen) and each.verdict is Verdict.ACCEPTED]
    return [
        frozenset(each.device for each in updates if (each.round, each.attempt) == (closed.round, closed.attempt))
        for closed in _closed(heard)[1:]
    ]


def _is_calm(heard: Sequence[Heard]) -> bool:
    last = _closed(heard)[-CALM:]
    return len(last) == CALM and all(each.phase is Phase.TRAIN and is_full(each) for each in last)


def _verdicts(heard: Sequence[Heard]) -> Counter[str]:
    """What the aggregator has refused: with a receipt, and without a word."""
    seen: Counter[str] = Counter()
    for each in heard:
        match each.notice:
            case UpdateSeen(verdict=Verdict.LATE):
                seen["receipt: late"] += 1
            case UpdateSeen(verdict=Verdict.REJECTED, reason=reason):
                seen[f"receipt: {reason.partition(':')[0]}"] += 1
            case RoundClosed(dropped=dropped) if dropped:
                seen["aggregator: dropped"] += dropped
    return seen
