"""A fleet behind the proxy: real processes, but for one device that runs in a thread of ours, to be looked into."""

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adversary.proxy import Proxy
from aggregator.notices import AnyNotice
from edge_client.config import load_config
from edge_client.shell import Daemon
from fedloom.errors import FedloomError
from simulation.broker import BrokerKind
from simulation.processes import Child, LocalFleet

DEVICES = tuple(number.to_bytes(16, "big").hex() for number in range(1, 5))
WITNESS = DEVICES[-1]
"""The device in our own process: its refusals can be read by their reasons."""
DEADLINE_S = 1.0
PATIENCE_S = 30.0
_WITNESS_NAME = f"device-{len(DEVICES):02}"
_ENVIRONMENT = {
    "FEDLOOM_EDGE__LOG__LEVEL": "debug",
    "FEDLOOM_EDGE__BROKER__KEEPALIVE_S": "3",
    "FEDLOOM_AGGREGATOR__LOG__LEVEL": "debug",
    "FEDLOOM_AGGREGATOR__BROKER__KEEPALIVE_S": "3",
    "FEDLOOM_AGGREGATOR__RETENTION__ROUNDS": "1000",
    "FEDLOOM_AGGREGATOR__RETENTION__MODELS": "1000",
}
LABELS = ("canary-healthy", "canary-arrhythmia")
FEATURES = ("canary-pulse", "canary-oxygen")
JOB = f"""
name = "canary-job"
seed = SEED
[model]
inputs = 2
outputs = 2
hidden = [16]
[data]
features = {list(FEATURES)}
target = "canary-diagnosis"
classes = {list(LABELS)}
[training]
loss = "cross_entropy"
[rounds]
count = COUNT
devices = {len(DEVICES)}
deadline_s = {DEADLINE_S}
quorum = 0.5
min_updates = 2
"""
CANARIES = (*LABELS, *FEATURES, "canary-diagnosis", "canary-job")


class Heard(NamedTuple):
    """A notice of the aggregator, and when it came (monotonic)."""

    notice: AnyNotice
    at_s: float


class HostileFleet(LocalFleet):
    """Every connection goes through `proxy`; a context manager."""

    def __init__(self, directory: Path, broker: BrokerKind = "auto", count: int = 2, seed: int = 2024) -> None:
        """`count`: rounds of the first run."""
        directory.mkdir(parents=True)
        files = [_write_data(directory / f"{name}.csv", number) for number, name in enumerate(DEVICES)]
        super().__init__(
            directory / "fleet", write_job(directory / "first.toml", count=count, seed=1), files[:-1], broker
        )
        self._witness_data = files[-1]
        self._seed = seed
        self._stays = False
        self._rig = contextlib.ExitStack()
        self.proxy: Proxy
        self.witness: Daemon
        self._thread: threading.Thread | None = None

    def address(self) -> tuple[str, int]:
        if not hasattr(self, "proxy"):
            self.proxy = self._rig.enter_context(Proxy(super().address(), DEVICES, self._seed))
        return self.proxy.address

    @property
    def state(self) -> Path:
        """The aggregator's directory."""
        return self.directory / "aggregator"

    def log(self, device: str) -> Path:
        return self.directory / f"{name_of(device)}.log"

    def state_of(self, device: str) -> Path:
        return self.directory / name_of(device) / "state"

    def _start(self) -> None:
        self._rig.enter_context(_environment(_ENVIRONMENT))
        super()._start()
        self._rig.enter_context(logged(self.log(WITNESS)))
        self._start_witness()

    def _start_aggregator(self, state: Path) -> Child:
        if not (self.directory / _WITNESS_NAME).exists():
            self._provision(state, len(DEVICES), self._witness_data)
        return super()._start_aggregator(state)

    def _start_device(self, config: Path) -> Child:
        if not self._stays:
            return super()._start_device(config)
        return self._spawn(config.parent.name, ["-m", "edge_client", "run", "--config", str(config)])

    def run_again(self, job: Path) -> None:
        """Once all have ended, start all again, for another job; devices stay when it is done."""
        self.job, self._stays = job, True
        self.aggregator = self._start_aggregator(self.state)
        configs = sorted(self.directory.glob("device-*/edge.toml"))[:-1]
        self.devices = [self._start_device(config) for config in configs]
        self._start_witness()

    def wait(self) -> None:
        """As for any fleet, and for the witness."""
        super().wait()
        if self.aggregator and self.aggregator.process.stdout:
            self.aggregator.process.stdout.close()
        self._join_witness()

    def stop(self, *, gently: bool = True) -> None:
        if hasattr(self, "witness"):
            self.witness.stop()
            self._join_witness()
        super().stop(gently=gently)
        self._rig.close()

    def _start_witness(self) -> None:
        config = self.directory / _WITNESS_NAME / "edge.toml"
        read: Callable[[], object] = lambda: load_config(config)  # noqa: E731
        self.witness = Daemon(load_config(config), read, exit_when_done=not self._stays)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.witness.run, name="witness")
        self._thread.start()

    def _join_witness(self) -> None:
        if self._thread:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive()


class Listener:
    """Reads the aggregator's notices in a thread, and lets one wait for them."""

    def __init__(self, notices: Iterator[AnyNotice]) -> None:
        self.heard: list[Heard] = []
        self._notices = notices
        self._news = threading.Condition()
        self._failure: FedloomError | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._listen, name="notices", daemon=True)
        self._thread.start()

    def wait_for(self, is_there: Callable[[Sequence[Heard]], bool], start: int, what: str) -> list[Heard]:
        """All that was heard from `start` on, as soon as `is_there` says that it is enough."""
        with self._news:
            arrived = self._news.wait_for(lambda: self._is_over or is_there(self.heard[start:]), PATIENCE_S)
            if self._failure:
                raise self._failure
            heard = self.heard[start:]
        assert arrived, f"{what}: not within {PATIENCE_S} s; heard since: {[each.notice for each in heard]}"
        assert is_there(heard), f"{what}: the run is over"
        return heard

    def join(self) -> list[Heard]:
        """All notices, once the run is over.

        Raises:
            FleetError: it did not end well.
        """
        self._thread.join(PATIENCE_S)
        if self._failure:
            raise self._failure
        return self.heard

    def _listen(self) -> None:
        try:
            for notice in self._notices:
                with self._news:
                    self.heard.append(Heard(notice, time.monotonic()))
                    self._news.notify_all()
        except FedloomError as error:
            self._failure = error
        with self._news:
            self._is_over = True
            self._news.notify_all()


def name_of(device: str) -> str:
    """What a device is called."""
    return f"device-{DEVICES.index(device) + 1:02}"


def refusals(daemon: Daemon) -> Counter[str]:
    """What a device has refused, by reason."""
    return Counter({f"device: {reason}": count for reason, count in dict(daemon._session.refusals).items()})


def write_job(path: Path, *, count: int, seed: int) -> Path:
    """A job of `count` rounds; another seed is another run."""
    path.write_text(JOB.replace("COUNT", str(count)).replace("SEED", str(seed)))
    return path


def _write_data(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    rows = [f"{a:.7f},{b:.7f},{LABELS[int(a + b > 0)]}" for a, b in rng.normal(size=(40, 2))]
    path.write_text("\n".join([",".join((*FEATURES, "canary-diagnosis")), *rows]))
    return path


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """What fedloom logs in this process, all of it, goes to a file as well."""
    handler, logger = logging.FileHandler(path), logging.getLogger("fedloom")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        handler.close()


def secret_files(directory: Path) -> list[bytes]:
    """All private keys of a fleet."""
    return [path.read_bytes() for path in sorted(directory.rglob("*.key"))]
