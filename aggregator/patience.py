"""When a round whose attempts keep failing is tried again: neither never nor all the time. No clock, no I/O."""

ABORTS_BEFORE_STALL = 5
"""Attempts of one round in a row; then the job waits for a change among the devices, or for a deadline's time."""
CHANGES_PER_DEADLINE = 10
"""How often, at most, a change among the devices ends the waiting."""


class Patience:
    """All times are on the monotonic clock, in seconds."""

    def __init__(self, deadline_s: float) -> None:
        self.until_s = float("-inf")
        """No attempt before that."""
        self.reason = ""
        self._deadline_s = deadline_s
        self._cut_s = float("-inf")

    def failed(self, times: int, reason: str, now_s: float) -> None:
        """An attempt has failed, the last of so many in a row."""
        if times >= ABORTS_BEFORE_STALL:
            self.until_s = now_s + self._deadline_s
            self.reason = f"{times} attempts failed; the last one: {reason}"

    def devices_changed(self, now_s: float) -> None:
        """The set of ready devices is another one: the next attempt may end better, so it may come sooner."""
        sooner_s = max(now_s, self._cut_s + self._deadline_s / CHANGES_PER_DEADLINE)
        if now_s < self.until_s and sooner_s < self.until_s:
            self._cut_s = self.until_s = sooner_s
