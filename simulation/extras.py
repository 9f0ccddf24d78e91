"""Packages that not every installation has."""

import importlib.util

from fedloom.errors import InputError


def require(module: str, what: str, package: str) -> None:
    """Refuse to go on with `what` without an optional part, which `package` brings.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise InputError(what, "", f"{module} is not installed", f"run: pip install '{package}'")
