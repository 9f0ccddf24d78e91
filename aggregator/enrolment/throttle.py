"""How many requests to join are opened: that costs public-key cryptography, and anybody may send one. No I/O.

Each token has a bucket of its own, so that five hundred devices join at once and nobody is crowded out by another; what
names no token that we know shares one bucket; and one bucket holds for all together, so that rounds go on.

A message that is thrown away costs as well: its place in the broker's queue for us, in which the devices' updates wait.
So when far too many come, the registrar listens to those alone for a while who have a token, and then to nobody; the
broker throws the others away.
"""

from collections.abc import Set
from typing import NamedTuple


class Rate(NamedTuple):
    """The size of a bucket, and how fast it fills."""

    burst: float
    per_s: float


OF_A_TOKEN = Rate(4, 0.5)
OF_STRANGERS = Rate(32, 8)
"""A token that was made a moment ago, by another process, is a stranger until the store has been looked at."""
OF_ALL = Rate(1024, 200)
"""About a seventh of one core."""
OF_MESSAGES = Rate(2048, 1000)
"""That are heard at all, whatever they are."""
PAUSE_S = 60.0
"""How long only some are heard when more come."""
_STRANGERS = b""
_ALL = b"*"
_MESSAGES = b"#"


class JoinThrottle:
    """Token buckets (of the other kind); what it remembers is bounded by the number of tokens made."""

    def __init__(self) -> None:
        self.known: Set[bytes] = frozenset()
        self._buckets: dict[bytes, tuple[float, float]] = {}
        """What is left in each bucket, and when that was."""

    def learn(self, tokens: Set[bytes]) -> None:
        """These tokens were made."""
        self.known = tokens

    def bears(self, now_s: float) -> bool:
        """Whether one more message can be borne; if not, fewer should be listened to: it begins to count anew."""
        left = self._left(_MESSAGES, OF_MESSAGES, now_s)
        is_borne = left >= 1
        self._buckets[_MESSAGES] = (left - 1 if is_borne else OF_MESSAGES.burst, now_s)
        return is_borne

    def admits(self, token: bytes, now_s: float) -> bool:
        """Whether a request with this token is looked at; `now_s` is on the monotonic clock."""
        is_known = token in self.known
        own, rate = (token, OF_A_TOKEN) if is_known else (_STRANGERS, OF_STRANGERS)
        of_own, of_all = self._left(own, rate, now_s), self._left(_ALL, OF_ALL, now_s)
        is_admitted = of_own >= 1 and of_all >= 1
        self._buckets[own] = (of_own - is_admitted, now_s)
        self._buckets[_ALL] = (of_all - is_admitted, now_s)
        return is_admitted

    def _left(self, key: bytes, rate: Rate, now_s: float) -> float:
        left, at_s = self._buckets.get(key, (rate.burst, now_s))
        return min(rate.burst, left + (now_s - at_s) * rate.per_s)
