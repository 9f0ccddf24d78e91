"""The soak's loop: supervise, hurt, look; then let all calm down and check what must hold."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge_client.outbox import StateDirectory
from soak.federation import DEADLINE_S, Federation
from soak.invariants import Canaries, check_device, check_fusions, check_receipts, check_time
from soak.ledger import Ledger
from soak.notices import Follower
from soak.party import Party
from soak.plan import Fault, Kind, draw_faults
from soak.samples import SETTLED_S, Sample, look, size_of

TURN_S = 0.1
SAMPLE_S = 3.0
LEDGER_S = 5.0
CALM_S = 6 * DEADLINE_S
"""When the faults are over, the next round must be done within that."""
START_S = 120.0


class Plan(NamedTuple):
    """What to do."""

    seconds: float
    seed: int
    devices: int = 50
    spared: int = 5
    """The first of the devices are never killed: their memory shows slow leaks."""
    every_s: float = 3.0
    """Mean time between two faults."""


class DiskUse(NamedTuple):
    """Bytes at a moment."""

    at_s: float
    rounds: int
    aggregator: int
    device: float
    """Mean of all."""


class Findings(NamedTuple):
    """What was seen."""

    plan: Plan
    seconds: float
    done: int
    aborted: int
    faults: Counter[Kind]
    restarts: dict[str, int]
    unexpected: list[str]
    violations: list[str]
    samples: dict[str, list[Sample]]
    disk: list[DiskUse]
    round_seconds: list[float]
    receipts: int


class Soak:
    """One run in a directory that must not exist yet."""

    def __init__(self, directory: Path, plan: Plan, tell: Callable[[str], None]) -> None:
        self.federation = Federation(directory, plan.devices, plan.seed, self._search_storage)
        self._plan = plan
        self._tell = tell
        self._rounds = Follower(self.federation.aggregator.out)
        self._ledger = Ledger(self.federation.state / "aggregator.db")
        self._faults: Counter[Kind] = Counter()
        self._samples: dict[str, list[Sample]] = {}
        self._disk: list[DiskUse] = []
        self._canaries = Canaries()
        self._canaries.learn(path for path in directory.rglob("*.key"))
        self._wipes_broker = False
        self._began_s = time.monotonic()

    def run(self) -> Findings:
        """From the first start to the last check; raises TimeoutError where no round is ever done."""
        try:
            self._start()
            self._hurt()
            self._calm_down()
        finally:
            statuses = {party.name: self._stop(party) for party in reversed(self.federation.parties)}
        self._ledger.read()
        self._rounds.read()
        return self._findings(statuses)

    def _start(self) -> None:
        for party in self.federation.parties:
            party.start(time.monotonic())
            if party is self.federation.broker:
                time.sleep(TURN_S)  # whoever comes too early tries again
        self._until(lambda: self._rounds.done >= 2, START_S, "no round was done")
        self._began_s = time.monotonic()

    def _hurt(self) -> None:
        faults = draw_faults(self._plan.seed, self._plan.devices - self._plan.spared, self._plan.every_s)
        fault = next(faults)
        next_sample_s = next_ledger_s = told_s = 0.0
        while (at_s := self._at_s()) < self._plan.seconds:
            self._turn()
            if at_s >= fault.at_s:
                self._inflict(fault)
                fault = next(faults)
            if at_s >= next_sample_s:
                next_sample_s = at_s + SAMPLE_S
                self._sample(at_s)
            if at_s >= next_ledger_s:
                next_ledger_s = at_s + LEDGER_S
                self._ledger.read()
                self._measure_disk(at_s)
            if at_s >= told_s:
                told_s = at_s + 5.0
                self._progress(at_s)

    def _calm_down(self) -> None:
        """Nobody is hurt any more: all come back, and the rounds go on."""
        for party in self.federation.parties:
            party.go_on()
        before = self._rounds.done
        self._until(lambda: self._rounds.done >= before + 2, CALM_S, "I5: no round was done after the last fault")

    def _until(self, is_reached: Callable[[], bool], patience_s: float, problem: str) -> None:
        deadline_s = time.monotonic() + patience_s
        while not is_reached():
            self._turn()
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{problem}; the aggregator: {self.federation.aggregator.last_words()}")

    def _turn(self) -> None:
        time.sleep(TURN_S)
        self._rounds.read()
        for party in self.federation.parties:
            party.supervise(time.monotonic())

    def _at_s(self) -> float:
        return time.monotonic() - self._began_s

    def _inflict(self, fault: Fault) -> None:
        self._faults[fault.kind] += 1
        until_s = time.monotonic() + fault.hold_s
        hit = [self.federation.devices[self._plan.spared + index] for index in fault.devices]
        match fault.kind:
            case Kind.KILL_DEVICE | Kind.POWER_CUT:
                self._each(hit, lambda party: party.end(signal.SIGKILL))
            case Kind.END_DEVICE:
                self._each(hit, lambda party: party.end(signal.SIGTERM))
            case Kind.STOP_DEVICE:
                self._each(hit, lambda party: party.hang(until_s))
            case Kind.KILL_AGGREGATOR:
                self.federation.aggregator.end(signal.SIGKILL)
            case Kind.STOP_AGGREGATOR:
                self.federation.aggregator.hang(until_s)
            case Kind.STOP_BROKER:
                self.federation.broker.hang(until_s)
            case Kind.KILL_BROKER | Kind.WIPE_BROKER:
                self._wipes_broker = fault.kind is Kind.WIPE_BROKER
                self.federation.broker.end(signal.SIGKILL)

    @staticmethod
    def _stop(party: Party) -> int | None:
        """The exit status; a process that is only just starting has no handler of SIGTERM yet, and may end by it."""
        is_starting = time.monotonic() - party.started_s < SETTLED_S
        status = party.stop()
        return 0 if is_starting and status == -signal.SIGTERM else status

    @staticmethod
    def _each(parties: list[Party], what: Callable[[Party], None]) -> None:
        for party in parties:
            what(party)

    def _search_storage(self) -> None:
        """Before each start of the broker."""
        self._canaries.search(path for path in self.federation.broker_storage.iterdir() if path.is_file())
        if self._wipes_broker:
            self._wipes_broker = False
            self.federation.wipe_broker()

    def _sample(self, at_s: float) -> None:
        spared = self.federation.devices[: self._plan.spared]
        for party in (self.federation.broker, self.federation.aggregator, *spared):
            pid = party.pid
            sample = look(pid, at_s, time.monotonic() - party.started_s) if pid else None
            if sample is not None:
                self._samples.setdefault(party.name, []).append(sample)

    def _measure_disk(self, at_s: float) -> None:
        states = [size_of(self.federation.device_directory(each) / "state") for each in self.federation.devices]
        used = size_of(self.federation.state)
        self._disk.append(DiskUse(at_s, len(self._ledger.rounds), used, sum(states) / len(states)))

    def _progress(self, at_s: float) -> None:
        down = sum(party.pid is None or party.is_hanging for party in self.federation.devices)
        latest = [f"{name} {self._samples[name][-1].rss_bytes / 2**20:.0f} MiB" for name in ("hub", "broker")
                  if name in self._samples]  # fmt: skip
        counts = f"{self._rounds.done} rounds done, {self._rounds.aborted} aborted"
        faults = f"{self._faults.total()} faults, {down} devices away"
        self._tell(f"{at_s:6.0f} of {self._plan.seconds:.0f} s: {counts}; {faults}; {', '.join(latest)}")

    def _findings(self, statuses: dict[str, int | None]) -> Findings:
        closed = [each for each in self._ledger.rounds.values() if each.status != "open"]
        parties = self.federation.parties
        unexpected = [f"{party.name}: {why}" for party in parties for why in party.unexpected]
        unexpected += [f"{name}: status {status} after SIGTERM" for name, status in statuses.items() if status]
        kept = [each for each in self._ledger.updates.values() if each[1] == "accepted"]
        return Findings(
            plan=self._plan,
            seconds=self._at_s(),
            done=sum(each.status == "done" for each in closed),
            aborted=sum(each.status == "aborted" for each in closed),
            faults=self._faults,
            restarts={party.name: party.starts - 1 for party in parties},
            unexpected=unexpected,
            violations=self._violations(),
            samples=self._samples,
            disk=self._disk,
            round_seconds=[each.seconds for each in self._rounds.closed if each.outcome == "done"],
            receipts=len(kept),
        )

    def _violations(self) -> list[str]:
        ledger, federation = self._ledger, self.federation
        found = [*ledger.violations, *check_fusions(ledger, self._rounds.closed)]
        found += check_time(ledger, federation.aggregator.starts)
        for number, device in enumerate(federation.devices, 1):
            found += check_receipts(ledger, number.to_bytes(16, "big"), device.log)
            found += check_device(ledger, device.name, StateDirectory(federation.device_directory(device) / "state"))
        self._canaries.search(party.log for party in federation.parties)
        self._canaries.search(path for path in (federation.aggregator.out, *federation.broker_storage.iterdir()))
        return [*found, *self._canaries.hits]
