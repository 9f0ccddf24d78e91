"""A federation's keys, database and devices, made once a process for each number of devices; a rig has a copy.

Where a broker is shared, what one test leaves there is for no other: a federation of its own has another identity.
"""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aggregator import keys as federation_keys
from aggregator.enrolment.provision import new_device
from aggregator.keys import SuiteName
from fedloom.trust.tokens import Broker, TlsMode

STATE = "state"
BROKER = Broker("localhost", 1883, TlsMode.NONE)
DAYS = 3650


def name_of(number: int) -> str:
    return f"device-{number}"


def provision(directory: Path, devices: int, suite: SuiteName, *, is_own: bool = False) -> None:
    """Write the aggregator's state and each device's directory."""
    found = _new_federation(devices, suite) if is_own else _federation(devices, suite)
    for path, content in found.items():
        place = directory / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o600)


def add_device(directory: Path, number: int) -> None:
    name = name_of(number)
    new_device(directory / STATE, name, directory / name, broker=BROKER, days=DAYS)


@cache
def _federation(devices: int, suite: SuiteName) -> Mapping[Path, bytes]:
    return _new_federation(devices, suite)


def _new_federation(devices: int, suite: SuiteName) -> Mapping[Path, bytes]:
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        federation_keys.init(directory / STATE, suite)
        for number in range(devices):
            add_device(directory, number)
        return {each.relative_to(directory): each.read_bytes() for each in directory.rglob("*") if each.is_file()}
