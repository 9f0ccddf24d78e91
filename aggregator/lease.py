"""Which run of the aggregator may write: each raises a counter in the database, and ends once another has done so.

The file lock keeps a second run off on one host. On storage that several hosts share, locks of files may lie.
"""

from sqlalchemy import Connection

from aggregator.meta import read_number, write_number
from fedloom.errors import StoreError

_EPOCH = "epoch"


class Lease:
    """Held from `take` until another run takes it."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    @classmethod
    def take(cls, connection: Connection) -> "Lease":
        """Raise the counter, in a transaction that writes."""
        epoch = read_number(connection, _EPOCH) + 1
        write_number(connection, _EPOCH, epoch)
        return cls(epoch)

    def verify(self, connection: Connection) -> None:
        """Return if no other run has begun.

        Raises:
            StoreError: one has; nothing may be written.
        """
        if read_number(connection, _EPOCH) != self._epoch:
            raise StoreError("another aggregator has taken over this state; stop one of the two")
