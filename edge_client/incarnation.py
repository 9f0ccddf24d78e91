"""Numbers a device's states, so that one that begins anew outranks all that were lost.

The counter lies with the keys, which a lost state directory leaves alone. The clock is its lower bound, for keys that
were provisioned again; alone it would not do, because a device without a battery may wake up in the past.
"""

import logging
from pathlib import Path

from fedloom.errors import StoreError
from fedloom.files import write_durably

FILE = "incarnation"
MAX = 2**32 - 1

log = logging.getLogger("fedloom.edge")


def next_incarnation(keys: Path, clock_s: float) -> int:
    """Higher than any number given before; `clock_s` is the wall clock. On disk when the call returns, if that can be.

    Raises:
        StoreError: the counter cannot be read, or is damaged.
    """
    path = keys / FILE
    number = min(max(_read(path) + 1, int(clock_s)), MAX)
    try:
        write_durably(path, b"%d\n" % number)
    except OSError as error:
        reason = f"{error.strerror}: with a clock set back, the next lost state will not be outranked"
        log.warning("incarnation.unkept path=%s reason=%r", path, reason)
    return number


def _read(path: Path) -> int:
    remedy = "write a number there that is higher than this device's last incarnation"
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if not text.isdigit():
        raise StoreError(f"{path}: is not a number; {remedy}")
    return int(text)
