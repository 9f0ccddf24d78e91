"""What a row about joining is: a script, what it is called, and how it must end. The rows are in `entry_table`."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from adversary.entrance import Entrance
from adversary.proxy import Script


class Ends(StrEnum):
    """What becomes of it."""

    AT_ONCE = "done all the same"
    AFTERWARDS = "held up, and done when the script has let go"


class Entry(NamedTuple):
    """A row of the page, and a test."""

    name: str
    does: str
    holds: str
    make: Callable[[], Script]
    play: Callable[[Entrance, "Entry"], Counter[str]]
    """What devices do meanwhile; returns why they refused what."""
    ends: Ends = Ends.AT_ONCE
    refusals: tuple[str, ...] = ()
    """Reasons that devices must be seen to have."""
    refused: int = 0
    """How many messages they must have refused at least."""
    joiners: int = 1
    touches: int = 1
    is_process: bool = False
    """Devices join by the command; else in a thread of ours, which can be looked into."""
    reconnects: bool = False
    """Devices have to connect anew when the script lets go: what was lost comes again only then."""


def judge_entry(entry: Entry, seen: Counter[str]) -> None:
    """Whether what devices refused is what the table says.

    Raises:
        AssertionError: it is not.
    """
    missing = set(entry.refusals) - seen.keys()
    assert not missing, f"not seen: {sorted(missing)}; seen: {dict(seen)}"
    assert sum(seen.values()) >= entry.refused, f"{sum(seen.values())} refused, {entry.refused} expected: {dict(seen)}"
