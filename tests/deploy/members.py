"""Who takes part in a test's federation."""

from pathlib import Path
from typing import NamedTuple


class Member(NamedTuple):
    """A device of the federation."""

    name: str
    id: str
    home: Path
