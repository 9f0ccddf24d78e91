"""The model of this device's own while its job runs: PATH/current, and PATH/{digest} that an update brings with it.

The latter is written before its update, and becomes current once that is on disk. So the two are one step: a device
that dies before trains the round again, from the same model as the first time; one that dies after goes on.
Each is a model file (fedloom.learning.model_file), which says of which run it is and notices damage.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.kept import Damaged, put_aside
from fedloom.errors import DataError
from fedloom.files import sync_directory, write_durably
from fedloom.quarantine import is_aside

if TYPE_CHECKING:
    from fedloom.learning.model import Model


class PersonalFiles:
    """Of one device; the model of the job that it took part in last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = path / "current"

    def write(self, update: bytes, model: bytes) -> None:
        """Make durable what the update with this digest brings with it."""
        write_durably(self.path / update.hex(), model)

    def adopt(self, update: bytes) -> None:
        """That update is on disk: what it has brought, if anything, is current."""
        brought = self.path / update.hex()
        if brought.exists():
            brought.replace(self.current)
            sync_directory(self.path)

    def tidy(self, waiting: Collection[bytes]) -> None:
        """Finish, or take back, what a process that died had begun; `waiting` are the updates on disk."""
        for update in waiting:
            self.adopt(update)
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path != self.current and not is_aside(path):
                path.unlink()

    def read(self) -> "Model | None":
        """The current model; None, with a warning, where it is damaged."""
        from fedloom.learning.model_file import load  # with numpy: not while idle

        if not self.current.exists():
            return None
        try:
            return load(self.current)
        except DataError as error:
            put_aside(Damaged(self.current, f"{error}; the device begins a new one"))
            return None
