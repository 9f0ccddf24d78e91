"""What devices may be called: names go into file names, topics of logs, certificates and terminals."""

import re
from collections.abc import Container

from fedloom.errors import ConfigError

MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
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
    if not _NAME.fullmatch(name):
        raise ConfigError("device", field, f"{name!r} is not a name", "use up to 64 letters, digits, '.', '_' and '-'")


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
