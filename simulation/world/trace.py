"""When devices were there, as a CSV file tells: the columns client, from_s and to_s, in any order of lines."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import DataError
from simulation.world.draws import Ids, Mask, Numbers
from simulation.world.presence import Times

_COLUMNS = ("client", "from_s", "to_s")


class Trace(NamedTuple):
    """Intervals of client i: those from `starts[i]` to `starts[i + 1]`, in order and apart."""

    starts: NDArray[np.intp]
    """(clients + 1,)"""
    begins_s: Numbers
    ends_s: Numbers

    def until(self, ids: Ids, time_s: Times) -> Numbers:
        """The end of the interval that it is in."""
        place, is_any = self._first_that_ends_after(ids, time_s)
        is_there = is_any & (self.begins_s[place] <= time_s)
        return np.where(is_there, self.ends_s[place], -np.inf)

    def again(self, ids: Ids, time_s: Times) -> Numbers:
        """At once, or when the next interval begins."""
        place, is_any = self._first_that_ends_after(ids, time_s)
        return np.where(is_any, np.maximum(self.begins_s[place], time_s), np.inf)

    def _first_that_ends_after(self, ids: Ids, time_s: Times) -> tuple[Ids, Mask]:
        """(c,) places, and whether there is one: a binary search of all at once."""
        low, end = self.starts[ids], self.starts[ids + 1]
        high = end.copy()
        last = len(self.ends_s) - 1
        while (is_open := low < high).any():
            middle = (low + high) // 2
            is_over = is_open & (self.ends_s[np.minimum(middle, last)] <= time_s)
            low = np.where(is_over, middle + 1, low)
            high = np.where(is_open & ~is_over, middle, high)
        return np.minimum(low, last), low < end


def read_trace(path: Path, clients: int) -> Trace:
    """Read a file for so many clients; one that is not in it is never there, and intervals that touch become one.

    Raises:
        DataError: the file cannot be read, or says something impossible.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = _rows(csv.reader(file), str(path), clients)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(str(path), "", f"cannot be read ({error})", "name a CSV file beside the job") from None
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return _joined(rows[order], clients)


def _rows(reader: object, where: str, clients: int) -> NDArray[np.float64]:
    lines = iter(reader)  # type: ignore[call-overload]  # csv's reader has no public type
    head = tuple(next(lines, ()))
    if head != _COLUMNS:
        problem = f"its first line is {','.join(head)[:60]!r}"
        raise DataError(where, "", problem, f"make it {','.join(_COLUMNS)}")
    rows = [_row(line, f"line {number}", where, clients) for number, line in enumerate(lines, 2)]
    if not rows:
        raise DataError(where, "", "has no line of data", "add when each client is there")
    return np.array(rows, np.float64)


def _row(line: list[str], place: str, where: str, clients: int) -> tuple[float, float, float]:
    try:
        client, begin, end = int(line[0]), float(line[1]), float(line[2])
    except (ValueError, IndexError):
        raise DataError(
            where, place, f"{','.join(line)[:60]!r} is not a whole number and two numbers", "correct it"
        ) from None
    if not 0 <= client < clients:
        raise DataError(where, place, f"client {client} of {clients}", f"number them from 0 to {clients - 1}")
    if not (math.isfinite(begin) and begin < end):
        raise DataError(where, place, f"from {begin:g} to {end:g} is no time", "let from_s be less than to_s")
    return client, begin, end


def _joined(rows: NDArray[np.float64], clients: int) -> Trace:
    """Sorted by client and beginning: what overlaps or touches what came before belongs to it."""
    client = rows[:, 0].astype(np.intp)
    is_first = np.r_[True, client[1:] != client[:-1]]
    reach = rows[:, 2].copy()
    for place in range(1, len(rows)):
        if not is_first[place]:
            reach[place] = max(reach[place], reach[place - 1])
    is_apart = is_first | np.r_[True, rows[1:, 1] > reach[:-1]]
    ends = reach[np.r_[np.flatnonzero(is_apart)[1:], len(rows)] - 1]
    starts = np.searchsorted(client[is_apart], np.arange(clients + 1))
    return Trace(starts, rows[is_apart, 1], ends)
