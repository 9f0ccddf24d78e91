"""Places where a test may have a process die, fail or wait; `failpoint(NAME)` does nothing otherwise.

FEDLOOM_FAIL=name:kill            SIGKILL to this process
FEDLOOM_FAIL=name:error           OSError, EIO, as from a disk that fails
FEDLOOM_FAIL=name:stop            SIGSTOP to this process, until somebody sends SIGCONT
FEDLOOM_FAIL=name:delay=0.5       sleep so many seconds
FEDLOOM_FAIL=name:kill@3          the third time only; several, separated by commas

They stand where I/O is done, never in what decides.
"""

import errno
import os
import re
import signal
import time
from typing import NamedTuple

from fedloom.errors import ConfigError
from fedloom.suggest import closest

VARIABLE = "FEDLOOM_FAIL"
NAMES = (
    "device.keys-written",
    "device.enrolment-sent",
    "device.manifest-received",
    "device.manifest-verified",
    "device.training",
    "device.trained",
    "device.outbox-stored",
    "device.update-published",
    "device.update-acknowledged",
    "device.receipt-came",
    "device.model-renamed",
    "aggregator.round-committed",
    "aggregator.message-received",
    "aggregator.message-verified",
    "aggregator.answer-committed",
    "aggregator.message-acknowledged",
    "aggregator.quorum",
    "aggregator.fused",
    "aggregator.model-committed",
    "aggregator.log-checkpoint",
    "aggregator.manifest-published",
)
"""In the order in which a job meets them. docs/failpoints.md says between which two steps each stands."""
_RULE = re.compile(r"([a-z.-]+):(kill|error|stop|delay=(\d+(?:\.\d+)?))(?:@([1-9]\d*))?\Z")
_WHERE = "the environment"


class Rule(NamedTuple):
    """What is to happen at one failpoint."""

    deed: str
    delay_s: float
    only: int
    """The how-many-th time; 0: each time."""


def parse(text: str) -> dict[str, Rule]:
    """What the variable asks for, by name.

    Raises:
        ConfigError: it names no failpoint, one twice, or no deed.
    """
    rules: dict[str, Rule] = {}
    for part in filter(None, text.split(",")):
        match = _RULE.match(part)
        if match is None:
            raise ConfigError(_WHERE, VARIABLE, f"{part!r}", "write name:kill, name:error, name:stop or name:delay=0.5")
        name, deed, delay_s, only = match.groups()
        if name not in NAMES:
            near = closest(name, NAMES)
            remedy = f"did you mean {near!r}?" if near else f"there are: {', '.join(NAMES)}"
            raise ConfigError(_WHERE, VARIABLE, f"{name!r} is not a failpoint", remedy)
        if name in rules:
            raise ConfigError(_WHERE, VARIABLE, f"{name!r} is there twice", "say one thing of each")
        rules[name] = Rule(deed.partition("=")[0], float(delay_s or 0), int(only or 0))
    return rules


_rules: dict[str, Rule] = {}
_counts: dict[str, int] = {}


def arm(text: str) -> None:
    """From now on do what `text` asks for and nothing else; an empty one asks for nothing. For commands, as they start.

    Raises:
        ConfigError: see `parse`.
    """
    rules = parse(text)
    _counts.clear()
    _rules.clear()
    _rules.update(rules)


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place, if anything.

    Raises:
        OSError: EIO, where it says `error`.
    """
    if not _rules or name not in _rules:
        return
    rule = _rules[name]
    _counts[name] = _counts.get(name, 0) + 1
    if rule.only not in (0, _counts[name]):
        return
    match rule.deed:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "error":
            raise OSError(errno.EIO, os.strerror(errno.EIO), f"failpoint {name}")
        case _:
            time.sleep(rule.delay_s)
