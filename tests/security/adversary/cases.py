"""What a case of the table is: a script, what it is called, and how it must end. The cases are in `table`."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from adversary.proxy import Script


class Outcome(StrEnum):
    """What becomes of the rounds while the script is on; afterwards each must be done by all devices again."""

    UNDISTURBED = "every round is done, with every device's update"
    CARRIES_ON = "rounds are done, at times without a device, or only when tried again"
    HELD_UP = "rounds are aborted and tried again for as long as it lasts"


class Case(NamedTuple):
    """A row of docs/hostile-broker.md, and a test."""

    name: str
    does: str
    """What the broker does."""
    holds: str
    """What must hold, besides the invariants, which must hold always."""
    make: Callable[[], Script]
    outcome: Outcome
    refusals: tuple[str, ...] = ()
    """Who must be seen to refuse, and why: `device: reason` (of the wire), `receipt: verdict or reason`, and
    `aggregator: dropped`, which is told by number alone."""
    rounds: int = 3
    """Closed rounds that the script is on for."""
    touches: int = 1
    """Messages that it must have touched before it lets go."""
    reconnects: tuple[str, ...] = ()
    """Devices for which the broker is an honest one again only when they have connected anew."""
    absent: tuple[str, ...] = ()
    """Devices of which no update may be accepted while it lasts."""
    floods: bool = False
    """Devices are throttled for it by the aggregator, for a while."""
    needs_mosquitto: str = ""
    """Why it cannot be played on amqtt."""
    is_noticed: bool = False
    """Every client must notice, and hang up."""
