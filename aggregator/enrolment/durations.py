"""Durations as people write them: 90m, 12h, 7d, 2w."""

import re

from fedloom.errors import InputError

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
MAX_S = 3650 * 86_400


def read_duration(text: str, field: str) -> int:
    """Seconds.

    Raises:
        InputError: it is none, or longer than ten years.

    >>> read_duration("12h", "--expires")
    43200
    """
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= MAX_S:
        problem = f"{text!r} is not a duration of up to ten years"
        raise InputError("token new", field, problem, "write minutes, hours, days or weeks: 90m, 12h, 7d, 2w")
    return seconds
