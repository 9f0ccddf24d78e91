"""What a device may be called: names go into file names, topics of logs, certificates and terminals."""

import re

MAX_NAME = 64
"""Characters."""
NAME_REMEDY = f"use up to {MAX_NAME} letters, digits, '.', '_' and '-', the first a letter or digit"
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")


def is_name(text: str) -> bool:
    """Whether a device can be called so.

    >>> is_name("gate-7"), is_name("gate 7"), is_name("-rf"), is_name("x" * 65), is_name("gate\\n")
    (True, False, False, False, False)
    """
    return _NAME.fullmatch(text) is not None
