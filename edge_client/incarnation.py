"""Numbers a device's states, so that one that begins anew outranks all that were lost.

The counter lies with the keys, which a lost state directory leaves alone. The clock is its lower bound, for keys that
were provisioned again; alone it would not do, because a device without a battery may wake up in the past.
"""

import logging
import re
from pathlib import Path
from zlib import crc32

from fedloom.errors import StoreError
from fedloom.files import write_durably

FILE = "incarnation"
MAX = 2**32 - 1
_LINE = re.compile(rb"(\d{1,10})(?: ([0-9a-f]{8}))?\n")
"""The number and the CRC-32 of its digits, which older versions did not write."""

log = logging.getLogger("fedloom.edge")


def next_incarnation(keys: Path, clock_s: float) -> int:
    """Higher than any number given before; `clock_s` is the wall clock. On disk when the call returns, if that can be.

    Raises:
        StoreError: the counter cannot be read, or is damaged.
    """
    path = keys / FILE
    number = min(max(_read(path) + 1, int(clock_s)), MAX)
    try:
        write_durably(path, _line(number))
    except OSError as error:
        reason = f"{error.strerror}: with a clock set back, the next lost state will not be outranked"
        log.warning("incarnation.unkept path=%s reason=%r", path, reason)
    return number


def last_incarnation(keys: Path) -> int:
    """The newest number that was given; 0 where none could be kept.

    Raises:
        StoreError: the counter cannot be read, or is damaged.
    """
    return _read(keys / FILE)


def _read(path: Path) -> int:
    remedy = "run: fedloom-edge repair --config FILE"
    try:
        found = _LINE.fullmatch(path.read_bytes())
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if not found:
        raise StoreError(f"{path}: is not a number with its checksum; {remedy}")
    if found[2] and found[0] != _line(int(found[1])):
        raise StoreError(f"{path}: is damaged, its checksum is wrong; {remedy}")
    return int(found[1])


def _line(number: int) -> bytes:
    digits = b"%d" % number
    return b"%s %08x\n" % (digits, crc32(digits))
