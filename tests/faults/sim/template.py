"""A federation's keys, database and devices, made once; each run begins with a copy. The same in every process."""

import os
import random
import tempfile
import time
from functools import cache
from pathlib import Path
from unittest import mock

from aggregator import keys as federation_keys
from aggregator.enrolment.provision import new_device
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey
from fedloom.trust.tokens import Broker, TlsMode

MOST_DEVICES = 6
BEGAN_S = 1.9e9
"""Seconds since 1970 (UTC): virtual time zero."""


@cache
def memory() -> Path:
    """Where files cost no disk."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


class Template:
    """Copies of a federation."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fedloom-faults-", dir=memory())
        path = Path(self._directory.name)
        rng = random.Random(0)

        def signing(_: type) -> SigningKey:
            return SigningKey(rng.randbytes(32))

        def seal(_: type, suite: SealSuite) -> SealKey:
            return SealKey(suite, rng.randbytes(32))

        with (
            mock.patch.object(SigningKey, "generate", classmethod(signing)),
            mock.patch.object(SealKey, "generate", classmethod(seal)),
            mock.patch.object(os, "urandom", rng.randbytes),
            mock.patch.object(time, "time", return_value=BEGAN_S),
        ):
            federation_keys.init(path / "aggregator", "x25519")
            for number in range(MOST_DEVICES):
                self._add(path, number)
        self._files = {each.relative_to(path): each.read_bytes() for each in path.rglob("*") if each.is_file()}
        self._directory.cleanup()

    def _add(self, path: Path, number: int) -> None:
        broker = Broker("localhost", 1883, TlsMode.NONE)
        name = name_of(number)
        new_device(
            path / "aggregator", name, path / name, broker=broker, days=3650, device_id=(number + 1).to_bytes(16, "big")
        )

    def copy(self, root: Path, devices: int) -> None:
        """Write the aggregator and the first so many devices into `root`."""
        wanted = {"aggregator", *(name_of(number) for number in range(devices))}
        for path, content in self._files.items():
            if path.parts[0] in wanted:
                place = root / path
                if not place.parent.exists():
                    place.parent.mkdir(parents=True, mode=0o700)
                    place.parent.parent.chmod(0o700)
                place.write_bytes(content)
                place.chmod(0o600)


def name_of(number: int) -> str:
    return f"device-{number}"


@cache
def template() -> Template:
    """The one of this process."""
    return Template()
