"""Pace steering: tells a device when it is wanted again, so that it may sleep until then. No I/O, no clock.

A round is expected to take as long as the ones before, so the next one is due when that time is over. With n devices
and at most r check-ins a second, all are back within n / r seconds. Where that is short they come together, a little
before the next round, so that enough are there at once; else they are spread evenly over a window that ends with it:

    start = max(0, next - max(n / r, LEAD_S));   wanted after start + u · n / r seconds, u from [0, 1)

Source: Bonawitz et al. 2019, Towards federated learning at scale, section 2.3 (arXiv:1902.01046).
"""

import statistics
from collections import deque
from hashlib import sha256

from aggregator.fleet import Fleet
from fedloom.job import Job
from fedloom.wire.messages import Phase

LEAD_S = 5.0
"""How long before a round its devices are back: they connect, and a clock on a small device may be slow."""
LATE_S = 10.0
"""How long after its time a sleeper is still expected."""
MAX_COME_BACK_S = 2_592_000.0
"""What a receipt can say."""
_ROUNDS = 5
"""Rounds whose median says how long the next will take."""


def come_back_s(next_s: float, devices: int, check_ins_per_s: float, draw: float) -> float:
    """After how many seconds a device is wanted, when the next round is due in `next_s`; `draw` is from [0, 1).

    >>> come_back_s(600.0, devices=10, check_ins_per_s=10.0, draw=0.5)
    595.5
    >>> come_back_s(600.0, devices=3000, check_ins_per_s=10.0, draw=0.5)
    450.0
    """
    spread_s = devices / check_ins_per_s
    start_s = max(0.0, next_s - max(spread_s, LEAD_S))
    return min(start_s + draw * spread_s, MAX_COME_BACK_S)


class Pace:
    """How long rounds take, and which devices were told to be back by when; all times are on the monotonic clock."""

    def __init__(self, fleet: Fleet, check_ins_per_s: float, job: Job) -> None:
        self._fleet = fleet
        self._check_ins_per_s = check_ins_per_s
        self._patience_s = 0.0 if job.asynchronous else job.rounds.deadline_s  # a buffer waits for nobody
        self._wait_until_s = float("-inf")
        self._took_s: deque[float] = deque(maxlen=_ROUNDS)
        self._opened_s: float | None = None
        self._is_ending = False
        self._invited = 0
        self._due_s: dict[bytes, float] = {}

    def opened(self, phase: Phase, invited: int, now_s: float) -> None:
        """A round was opened, or goes on in a new process.

        Nobody is sent to sleep in the last one: the final model follows.
        """
        self._opened_s = None if phase in (Phase.EVALUATE, Phase.DONE) else now_s
        self._is_ending = False
        self._invited = invited

    def ending(self) -> None:
        """It has all that it needs: nobody is sent to sleep any more."""
        self._is_ending = True

    def closed(self, now_s: float) -> None:
        """It is closed."""
        if self._opened_s is not None:
            self._took_s.append(now_s - self._opened_s)
        self._opened_s, self._wait_until_s = None, now_s + self._patience_s

    def come_back_s(self, device: bytes, manifest: bytes, now_s: float) -> int:
        """What the receipt of a device says that has nothing more to do in the open round; 0: it may as well stay.

        The draw is made from the round and the device, so that a receipt that is repeated names the same moment.
        """
        if self._opened_s is None or self._is_ending or not self._took_s:
            return 0  # nobody knows how long the first round takes
        next_s = self._opened_s + statistics.median(self._took_s) - now_s
        devices = len(self._fleet.ready) + len(self._fleet.sleeping)
        draw = int.from_bytes(sha256(manifest + device).digest()[:8], "big") / 2**64
        seconds = int(come_back_s(next_s, devices, self._check_ins_per_s, draw))
        self._due_s[device] = now_s + seconds
        return seconds

    def awaits(self, now_s: float) -> float | None:
        """Until when, at most, the next round waits for sleepers: until as many are ready as the last one had.

        None: for nobody. A deadline's time after the round before it no longer waits, whoever was told to be back.
        """
        return None if len(self._fleet.ready) >= self._invited else self.last_due_s(now_s)

    def last_due_s(self, now_s: float) -> float | None:
        """When the last of the sleepers that are due within a deadline's time is expected; None: nobody is."""
        due = (self._due_s.get(each, float("-inf")) + LATE_S for each in self._fleet.sleeping)
        return max((each for each in due if now_s < each <= self._wait_until_s), default=None)
