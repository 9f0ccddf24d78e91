"""What somebody who misspelt a name may have meant."""

from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The most similar of the known names, or None where none is similar.

    >>> closest("hsot", ["port", "host"]), closest("x", ["port", "host"])
    ('host', None)
    """
    import difflib  # takes memory, and only for an error

    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
