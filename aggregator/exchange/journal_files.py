"""The files of a journal, see aggregator.exchange.journal: where they are, what is in them, which of them are needed.

    exchange/RUN/NNNNNNN.request   the request of the round that is open
    exchange/RUN/NNNNNNN.told      what each invited device has answered in a round that is over

Each is the SHA-256 of what follows it, and that.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from aggregator import history
from aggregator.backup.leap import RESTORED
from aggregator.damage import DamagedError
from aggregator.history import RoundEntry
from aggregator.store import Store
from fedloom import msgpack
from fedloom.errors import Refused
from fedloom.wire.messages import Phase
from fedloom.wire.records import Reply

DIRECTORY = "exchange"
"""Of the state directory."""
REQUEST, TOLD = "request", "told"
"""The endings."""
_DIGEST_BYTES = 32


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a round has brought."""

    request: bytes
    """Its SHA-256."""
    outcomes: tuple[tuple[bytes, Reply | None], ...]
    """Of each device that was invited; None: it has not answered in time."""


class OpenRun(NamedTuple):
    """A run that can be carried on."""

    id: bytes
    rounds: list[RoundEntry]

    def needed(self, directory: Path) -> Iterator[Path]:
        """What must be below the journals' `directory`; of a round that a restore has ended nobody was told."""
        for each in self.rounds:
            if each.reason != RESTORED:
                yield path_of(directory, self.id, each.round, REQUEST if each.status == "open" else TOLD)


def open_run(store: Store) -> OpenRun | None:
    """The newest run, if it is not over."""
    newest = history.newest_job(store)
    rounds = history.rounds_of(store, newest[0]) if newest else []
    if newest is None or any(each.phase == Phase.DONE.value for each in rounds):
        return None
    return OpenRun(newest[0], rounds)


def path_of(directory: Path, run: bytes, number: int, ending: str) -> Path:
    """The file of a round."""
    return directory / run.hex() / f"{number:07d}.{ending}"


def seal(content: bytes) -> bytes:
    """The file's bytes."""
    return sha256(content).digest() + content


def unseal(path: Path) -> bytes:
    """A file's content.

    Raises:
        DamagedError: it is not what was written.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if sha256(data[_DIGEST_BYTES:]).digest() != data[:_DIGEST_BYTES]:
        raise DamagedError(f"{path}: is damaged; without --resume a new run begins")
    return data[_DIGEST_BYTES:]


def read_told(path: Path) -> Told:
    """What a round has brought; raises as `unseal`."""
    try:
        return msgpack.decode(unseal(path), Told)
    except Refused as error:
        raise DamagedError(f"{path}: is damaged ({error.detail}); without --resume a new run begins") from None
