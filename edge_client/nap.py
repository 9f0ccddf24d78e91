"""Sleep between rounds: a device that has answered and is not wanted for a while leaves, and comes back by itself.

Nothing is lost by that: a manifest is retained, and the aggregator invites a device again that says that it is ready.
"""

import logging

from edge_client.events import Action, Log, Sleep, Wake
from fedloom.wire.messages import Receipt, Verdict

MIN_SLEEP_S = 10
"""A shorter rest costs more than it saves: a connection with TLS, and presence."""


class Nap:
    """Off unless the device's owner wants it (`power.sleep_between_rounds`)."""

    def __init__(self, is_wanted: bool) -> None:
        self.until_s: float | None = None
        """On the monotonic clock; None: awake."""
        self._is_wanted = is_wanted

    @property
    def is_on(self) -> bool:
        return self.until_s is not None

    def is_over(self, now_s: float) -> bool:
        """Whether it is time to come back."""
        return self.until_s is not None and now_s >= self.until_s

    def allows(self, receipt: Receipt) -> bool:
        """Whether the device may go now, as far as the receipt says. After a rejection it is wanted at once."""
        return self._is_wanted and receipt.verdict is not Verdict.REJECTED and receipt.come_back_s >= MIN_SLEEP_S

    def begin(self, seconds: int, now_s: float) -> list[Action]:
        """Leave; presence was said already."""
        self.until_s = now_s + seconds
        return [Log(logging.INFO, "power.sleeping seconds=%d", (seconds,)), Sleep(seconds)]

    def end(self) -> list[Action]:
        """Come back, in time or sooner."""
        self.until_s = None
        return [Log(logging.INFO, "power.awake"), Wake()]
