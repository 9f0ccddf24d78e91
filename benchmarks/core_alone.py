"""The aggregator's core and archive without link and loop: the same code, called from one thread."""

import gc
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

import memory
from prepared import Prepared, Round, update_body
from work import Work

from aggregator import events as ev
from aggregator.config import load_config
from aggregator.startup import assemble
from fedloom.link.base import Received, Token
from fedloom.link.config import MqttConfig
from fedloom.wire.chunks import split

BATCH = 64
"""Answers stored together."""


class CoreAlone:
    """Handles messages, and stores what it admits in batches of a size that a busy service reaches."""

    def __init__(self, config: Path) -> None:
        self.seconds: Counter[str] = Counter()
        """Spent in each step."""
        self.receipts = 0
        self.round: Round | None = None
        self._orders: deque[ev.Order] = deque()
        self._parts = assemble(load_config(config))
        self._packet = 0
        self._handle(ev.Begin())
        self._handle(ev.LinkUp())

    def receive(self, topic: str, payload: bytes) -> None:
        """A message from the link."""
        self._packet += 1
        self._handle(Received(topic, payload, False, Token(1, self._packet)), "verify, open, check")

    def store(self, at_least: int) -> None:
        """Store what was admitted as soon as there are so many answers."""
        while len(self._orders) >= at_least and isinstance(self._orders[0], ev.Store):
            self._work_once()

    def work(self) -> None:
        """Carry out all orders."""
        while self._orders:
            self._work_once()

    def close(self) -> None:
        self._parts.archive.close()

    def _handle(self, event: ev.Event, step: str = "other") -> None:
        began_s = time.perf_counter()
        actions = self._parts.core.handle(event, ev.Now(time.monotonic(), time.time()))
        self.seconds[step] += time.perf_counter() - began_s
        for action in actions:
            match action:
                case ev.Publish(topic, payload):
                    if topic == self._parts.fleet.topics.manifest:
                        self.round = Round(payload)
                    self.receipts += isinstance(event, ev.Stored)
                case ev.Store() | ev.Fuse() | ev.Turn():
                    self._orders.append(action)

    def _work_once(self) -> None:
        archive, order = self._parts.archive, self._orders.popleft()
        began_s = time.perf_counter()
        match order:
            case ev.Store(version, answer):
                answers = [answer]
                while self._orders and len(answers) < BATCH and isinstance(self._orders[0], ev.Store):
                    answers.append(self._orders.popleft().answer)  # type: ignore[union-attr]
                done: ev.Event = archive.add(version, answers)
                self.seconds["spool and database, fsynced"] += time.perf_counter() - began_s
                self._handle(done, "receipts")
                return
            case ev.Fuse():
                done = archive.fuse(order)
                self.seconds["fuse"] += time.perf_counter() - began_s
            case ev.Turn():
                done = archive.turn(order)
            case _:
                raise TypeError(order)
        self._handle(done)


def begin(prepared: Prepared) -> tuple[CoreAlone, Round]:
    """The first round is open, and all devices are asked."""
    core = CoreAlone(prepared.config)
    for sender in prepared.senders:
        core.receive(prepared.topics.state(sender.id), prepared.presence(sender))
    core.work()
    assert core.round
    core.seconds.clear()
    return core, core.round


def ingest(core: CoreAlone, prepared: Prepared, blobs: Iterable[bytes]) -> float:
    """Seconds until each has its receipt; the round is closed then, but not yet fused."""
    began_s = time.perf_counter()
    for sender, blob in zip(prepared.senders, blobs, strict=True):
        for message in split(blob):
            core.receive(prepared.topics.up(sender.id), message)
        core.store(at_least=BATCH)
    core.store(at_least=1)
    return time.perf_counter() - began_s


def main() -> None:
    """In a fresh process: peak memory of a round with so many updates. Arguments: directory, devices, layer widths."""
    directory, devices, *widths = sys.argv[1:]
    work = Work(tuple(map(int, widths)), rounds=2, devices=int(devices))
    prepared = Prepared(Path(directory), "hybrid", work.devices, MqttConfig("localhost"), work.as_job())
    core, opened = begin(prepared)
    body = update_body(int(work.model_kib * 256))
    gc.collect()
    before_mib = memory.of_tree(os.getpid()).resident
    with memory.Peak(os.getpid()) as peak:
        ingest(core, prepared, (prepared.update(sender, opened, body) for sender in prepared.senders))
        core.work()
    print(before_mib, peak.memory.resident)
    core.close()


if __name__ == "__main__":
    main()
