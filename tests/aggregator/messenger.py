"""An app that stands beside a rig's aggregator: it sends letters, and keeps what they bring."""

from hashlib import sha256
from typing import Any

import numpy as np

from aggregator import events as ev
from aggregator.exchange.courier import Courier
from aggregator.exchange.job import exchange_job
from aggregator.exchange.journal import Journal
from aggregator.exchange.letters import Letter
from aggregator.records import CurrentModel
from aggregator.startup import assemble_for
from fedloom.wire import records
from fedloom.wire.messages import Update
from fedloom.wire.records import Array, ArrayRecord, MetricRecord, Reply, Request
from strategies import create


def request(value: float = 1.0) -> bytes:
    model = ArrayRecord({"w": Array.of(np.full(3, value, np.float32))})
    return records.encode(Request("train", "1", 7, 60.0, {}, {"arrays": model}))


def reply(number: float) -> Reply:
    return Reply({"metrics": MetricRecord({"n": number})})


class App:
    """Stands for the app: sends letters, and keeps what they bring."""

    def __init__(self, rig: Any) -> None:
        self.rig = rig
        self.max_bytes = 2**30
        self.settled: dict[str, Reply | None] = {}
        self.wakes: list[float] = []
        self._number = 0
        self._perform = rig.perform
        rig.perform = self.perform

    def boot(self, *, resume: bool = False) -> None:
        job = exchange_job("an app", {})
        nothing = CurrentModel(0, np.empty(0, np.float32), None)
        strategy = create(job.strategy, "app")
        self.journal = Journal(self.rig.state, self.max_bytes) if resume else None
        self.rig.parts = assemble_for(
            job,
            strategy,
            nothing,
            self.rig.config,
            Courier,
            is_new=lambda store: self.journal is None or not self.journal.is_whole(store),
            journal=self.journal,
        )
        self.rig.handle(ev.Begin())
        self.rig.handle(ev.LinkUp())
        self.rig.ready()

    def perform(self, action: ev.Action) -> None:
        if isinstance(action, ev.Settle):
            for each in action.settled:
                assert each.id not in self.settled
                self.settled[each.id] = each.reply
        if isinstance(action, ev.WakeAt):
            self.wakes.append(action.at_s)
        self._perform(action)

    def ask(self, *devices: Any, blob: bytes = b"", timeout_s: float = 60.0) -> list[str]:
        letters = []
        for device in devices or self.rig.devices:
            self._number += 1
            letters.append(Letter(f"{self._number}", getattr(device, "id", device), blob or request(), timeout_s))
        self.rig.handle(ev.Asked(tuple(letters)))
        self.rig.work()
        return [each.id for each in letters]


def answer(app, device, what=None, declined="", vector=None):
    blob = records.encode(what or reply(device.number)) if vector is None else vector
    app.rig.send(device, device.update(Update(0, 0, 0.0, blob, b"", declined)))
    app.rig.work()


def again(app, blob=None):
    """The app asks as before: what is recalled is settled by the grid, the rest by the courier."""
    digest = sha256(blob or request()).digest()
    told = {device: app.journal.recall(digest, device.id) for device in app.rig.devices}
    return told, [device for device, recalled in told.items() if recalled is None]


def killed_app(make_rig):
    """An app that keeps a journal; its first round is over, its second is open with one answer, and the server died."""
    app = App(make_rig())
    app.boot(resume=True)
    app.ask()
    first, second, _ = app.rig.devices
    answer(app, first)
    answer(app, second, Reply(None, 2, "ValueError"))
    app.rig.now_s += 60.0
    app.rig.handle(ev.Tick())
    app.rig.work()
    app.ask(blob=request(2.0))
    answer(app, first, reply(7))
    app.rig.crash()
    app.settled.clear()
    return app
