"""What devices may be called, and which names are taken."""

import re
from collections.abc import Container

from sqlalchemy import Connection, select

from aggregator import tables as t
from aggregator.enrolment.states import OPEN
from fedloom.errors import ConfigError
from fedloom.names import MAX_NAME, NAME_REMEDY, is_name

_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")
_ID = re.compile(r"[0-9a-f]{32}")
_FALLBACK = "device"


def check_name(name: str, field: str) -> None:
    """Return if a device can have this name.

    Raises:
        ConfigError: it cannot.
    """
    if _ID.fullmatch(name):
        problem = f"{name!r} looks like an id"
        raise ConfigError("device", field, problem, "choose a name that cannot be mistaken for another device")
    if not is_name(name):
        raise ConfigError("device", field, f"{name!r} is not a name", NAME_REMEDY)


def free_name(wish: str, taken: Container[str]) -> str:
    """A name like the one that a device wishes, which nobody has.

    >>> free_name("gate 7", []), free_name("gate", ["gate", "gate-2"]), free_name("\\x1b[2J", [])
    ('gate-7', 'gate-3', '2J')
    """
    name = _FOREIGN.sub("-", wish).lstrip("._-")[:MAX_NAME] or _FALLBACK
    if _ID.fullmatch(name):  # else whoever names a device by its id could mean another
        name = f"{_FALLBACK}-{name}"
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name[: MAX_NAME - len(f'-{number}')]}-{number}"
    return candidate


class Names:
    """What devices are called, and what tokens promise that are not used up."""

    def __init__(self, connection: Connection) -> None:
        promised = select(t.tokens.c.name).where((t.tokens.c.name != "") & t.tokens.c.state.in_(OPEN))
        self.devices = set(connection.scalars(select(t.devices.c.name)))
        self.promised = set(connection.scalars(promised))

    def __contains__(self, name: object) -> bool:
        return name in self.devices or name in self.promised

    def still_free(self, promised: str) -> str:
        """The name that a token promises, or one like it where a device was made by hand meanwhile that has it."""
        return free_name(promised, self) if promised in self.devices else promised
