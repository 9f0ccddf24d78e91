"""Puts a restored state ahead of everything that was published since the backup, see docs/decisions/0011.

Devices accept only a manifest above the last one that they have seen. How far the federation had come nobody knows; but
rounds are longer than a millisecond, so a version that counts milliseconds since 1970 is above all, and above any
earlier leap.
"""

from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from aggregator import tables as t
from aggregator.meta import read_number, write_number

LEAST = 1_000_000
"""Versions that are left out at least, if the clock is wrong."""
RESTORED = "the state was restored from a backup"
_FROM, _TO = "leapt_from", "leapt_to"


class Leap(NamedTuple):
    """Manifest versions that are ours no more: another life of this state may have used them."""

    start: int
    """The newest version that this state knows; those above are lost."""
    end: int
    """The last lost one; ours are above."""


def leap(connection: Connection, now_s: float) -> Leap:
    """Leave out versions, and abort the round that is open: nobody who has seen a newer one would take part in it."""
    newest = newest_version(connection)
    made = Leap(newest, max(newest + LEAST, int(now_s * 1000)))
    write_number(connection, _FROM, made.start)
    write_number(connection, _TO, made.end)
    closed = {"status": "aborted", "reason": RESTORED, "closed_at": now_s}
    connection.execute(update(t.rounds).where(t.rounds.c.status == "open").values(closed))
    connection.execute(update(t.rounds).values(round_key=None))
    return made


def newest_leap(connection: Connection) -> Leap | None:
    """The last one, if there was any."""
    made = Leap(read_number(connection, _FROM), read_number(connection, _TO))
    return made if made.end else None


def newest_version(connection: Connection) -> int:
    """The highest manifest version that this state has used or left out."""
    used = connection.scalar(select(func.max(t.rounds.c.manifest_version))) or 0
    left_out = newest_leap(connection)
    return max(used, left_out.end if left_out else 0)
