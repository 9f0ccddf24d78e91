"""Virtual time: what is due when, and the story of what was done."""

import heapq
from collections import Counter
from collections.abc import Callable


class Agenda:
    """Events in the order of their time; those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now_s + max(0.0, delay_s), self._count, do))

    def step(self) -> bool:
        """Do the next thing; False if nothing is due, ever."""
        if not self._due:
            return False
        self.now_s, _, do = heapq.heappop(self._due)
        do()
        return True


class Story:
    """One line an event: virtual time, who, what."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._events: list[tuple[float, str, str, tuple[object, ...]]] = []
        self.counts: Counter[str] = Counter()
        """How often each kind of thing was told."""

    def tell(self, who: str, what: str, *args: object) -> None:
        """`what` is formatted with `args` only when somebody reads."""
        self.counts[what] += 1
        self._events.append((self._agenda.now_s, who, what, args))

    def lines(self) -> list[str]:
        return [f"{at_s:10.3f}  {who:<12} {what % args if args else what}" for at_s, who, what, args in self._events]
