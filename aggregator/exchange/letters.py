"""What an app on this host has delivered to devices, and what becomes of it."""

from typing import NamedTuple

from fedloom.wire.records import Reply


class Letter(NamedTuple):
    """A request for one device."""

    id: str
    device: bytes
    request: bytes
    """See fedloom.wire.records.Request; letters with the same bytes travel together, sealed once."""
    timeout_s: float
    """How long its round is open, at most; the app may withdraw it sooner."""


class Settled(NamedTuple):
    """A letter's end."""

    id: str
    reply: Reply | None
    """None: the device has not answered in time."""


class Answered(NamedTuple):
    """A round that is over."""

    round: int
    request: bytes
    """SHA-256 of what was asked."""
    outcomes: tuple[tuple[bytes, Reply | None], ...]
    """Of each device that was invited; None: it has not answered in time."""


class Entry(NamedTuple):
    """What a turn adds to the journal of a run, see aggregator.exchange.journal."""

    answered: Answered | None
    round: int
    """That opens; 0: none does."""
    request: bytes
    """What it asks."""
