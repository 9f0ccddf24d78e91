"""Labels of devices, by which an operator finds them and a job wants them or not: KEY=VALUE, a few each. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fedloom.errors import InputError

MAX_LABELS = 16
MAX_LABEL = 100
"""Characters of a label's key, or of its value."""


class Wanted(NamedTuple):
    """Which devices a job takes: those with all of the one and none of the other."""

    require: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether a device with these labels takes part.

        >>> Wanted(("site=north",), ("battery",)).admits({"site": "north", "floor": "2"})
        True
        """
        is_required = all(_has(labels, each) for each in self.require)
        return is_required and not any(_has(labels, each) for each in self.exclude)


ANY = Wanted()


def read_labels(given: Iterable[str], command: str, option: str) -> dict[str, str]:
    """Labels as they are typed.

    Raises:
        InputError: one cannot be used, or they are too many.
    """
    labels: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        is_short = len(key) <= MAX_LABEL and len(value) <= MAX_LABEL
        if not (key and equals and text.isprintable() and is_short) or key in labels or len(labels) == MAX_LABELS:
            remedy = f"write up to {MAX_LABELS} different ones as KEY=VALUE, each up to {MAX_LABEL} characters"
            raise InputError(command, option, f"{text!r} cannot be used", remedy)
        labels[key] = value
    return labels


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels for people."""
    return " ".join(f"{key}={value}" for key, value in labels.items())


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    """`KEY=VALUE`, or `KEY` for any value."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
