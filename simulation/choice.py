"""A value of which there are few."""

from collections.abc import Collection

from fedloom.errors import InputError
from fedloom.suggest import closest


def check_choice(where: str, field: str, value: object, known: Collection[str]) -> None:
    """Refuse what is not among the known.

    Raises:
        InputError: says which there are.
    """
    if value in known:
        return
    close = closest(str(value), known)
    remedy = f"did you mean {close!r}?" if close else f"choose from {', '.join(known) or 'nothing'}"
    raise InputError(where, field, f"{value!r} is not one", remedy)
