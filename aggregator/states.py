"""What a strategy remembers between rounds, on disk: DIRECTORY/SHA256.state beside the job's models.

A state may be several times as large as the model (Adam: two moments). The database has its SHA-256 alone, in the round
after which it was so; the file is durable before that row is. A state that did not change costs nothing.
"""

from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from aggregator.damage import DamagedError
from fedloom.errors import StoreError
from fedloom.files import make_private_directory, write_durably


class States:
    """The states of one job's strategy."""

    def __init__(self, directory: Path) -> None:
        make_private_directory(directory)
        self._directory = directory

    def path(self, digest: bytes) -> Path:
        """The file of the state with this SHA-256."""
        return self._directory / f"{digest.hex()}.state"

    def save(self, state: bytes) -> None:
        """Make a state durable; that before the first round is empty, and needs no file.

        Raises:
            StoreError: it is not.
        """
        path = self.path(sha256(state).digest())
        if not state or path.exists():
            return
        try:
            write_durably(path, state)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror})") from error

    def load(self, digest: bytes) -> bytes:
        """The state with this SHA-256; that before the first round, which has none, for an empty one.

        Raises:
            DamagedError: it is missing or altered.
        """
        if not digest:
            return b""
        path = self.path(digest)
        try:
            state = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path}: cannot be read ({error.strerror})") from error
        if sha256(state).digest() != digest:
            raise DamagedError(f"{path}: is damaged, its SHA-256 is not its name")
        return state

    def prune(self, keep: Collection[bytes]) -> None:
        """Delete all but those with these SHA-256s."""
        names = {self.path(digest).name for digest in keep}
        for path in self._directory.glob("*.state"):
            if path.name not in names:
                path.unlink(missing_ok=True)
