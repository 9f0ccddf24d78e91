"""What a check has found: how it is, what was seen, and what to do."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from fedloom.errors import FedloomError, InputError


class Level(StrEnum):
    """How it is. Only FAIL makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the report."""

    check: str
    level: Level
    seen: str
    do: str = ""


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, seen)


def warn(check: str, seen: str, do: str) -> Finding:
    """It works, or could not be looked at."""
    return Finding(check, Level.WARN, seen, do)


def fail(check: str, seen: str, do: str) -> Finding:
    """It does not work, or is not safe."""
    return Finding(check, Level.FAIL, seen, do)


def from_error(check: str, error: FedloomError | OSError) -> Finding:
    """What an error says; ours name the remedy after their last semicolon, and some have none."""
    if isinstance(error, OSError):
        seen = f"{error.filename or 'the system'}: {error.strerror or error}"
        return fail(check, seen, "check the path and its owner")
    if isinstance(error, InputError):
        return fail(check, f"{error.where}: {error.field}: {error.problem}".replace(": : ", ": "), error.remedy)
    seen, _, do = str(error).rpartition("; ")
    return fail(check, seen, do) if seen else fail(check, do, "")


def guarded(check: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; an error among them becomes the last one."""
    try:
        yield from found
    except (FedloomError, OSError) as error:
        yield from_error(check, error)


def has_failed(findings: Iterable[Finding]) -> bool:
    """Whether the command is to fail."""
    return any(each.level is Level.FAIL for each in findings)


def describe(finding: Finding) -> str:
    """For people: a line, and one more if there is something to do."""
    line = f"{finding.level:4}  {finding.check}: {finding.seen}"
    return f"{line}\n      -> {finding.do}" if finding.do else line
