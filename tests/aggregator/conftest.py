"""A rig that runs a coordinator and its archive without link, loop or clock, and devices that sign real messages."""

from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from provisioned import STATE, add_device, name_of, provision
from stage import Stage

from aggregator import events as ev
from aggregator.config import AggregatorConfig, Loaded, Retention
from aggregator.notices import AnyNotice
from aggregator.startup import Parts, assemble
from fedloom import msgpack
from fedloom.link.base import Received, Sent, Token
from fedloom.link.config import MqttConfig
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from fedloom.trust.seal import Recipient
from fedloom.wire import encoding, envelope
from fedloom.wire.brief import open_brief
from fedloom.wire.envelope import Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Brief, Manifest, Phase, Presence, Receipt, Task, Update, Verdict
from fedloom.wire.topics import Topics

JOB = """
name = "line"
seed = 7
[model]
inputs = {inputs}
outputs = 1
[data]
features = [{features}]
target = "y"
standardise = {standardise}
[training]
loss = "mse"
[rounds]
count = {count}
devices = {devices}
deadline_s = 60.0
quorum = {quorum}
min_updates = {min_updates}
cohort = {cohort}
over_selection = {over_selection}
evaluate = {evaluate}
[update]
encoding = "{encoding}"
share = {share}
max_norm = 1000.0
max_samples = 1000
[stopping]
patience = {patience}
"""


ASYNCHRONOUS = """
[asynchronous]
buffer = {buffer}
max_staleness = {max_staleness}
[strategy]
name = "fedbuff"
"""


def job_text(**changes: Any) -> str:
    """A job whose model has inputs + 1 weights."""
    settings = {
        "inputs": 3,
        "standardise": "false",
        "count": 2,
        "devices": 3,
        "quorum": 1.0,
        "min_updates": 0,
        "cohort": 1.0,
        "over_selection": 1.3,
        "evaluate": 1.0,
        "encoding": "float32",
        "share": 0.0,
        "patience": 0,
        "buffer": 0,
        "max_staleness": 3,
        "choice": "",
    } | changes
    text = JOB.format(features=", ".join(f'"x{i}"' for i in range(settings["inputs"])), **settings)
    text += ASYNCHRONOUS.format(**settings) if settings["buffer"] else ""
    return text + "[cohort]\n" + settings["choice"]


class FakeDevice:
    """Holds real keys, and says what a test wants it to say."""

    def __init__(self, number: int, name: str, keys: DeviceKeys) -> None:
        self.number = number
        self.name = name
        self.keys = keys
        self.id = keys.id
        self.topics = Topics(keys.root.federation)
        self.manifest: Manifest | None = None
        self.manifest_hash = b""
        self.tasks: list[tuple[Header, Task]] = []
        self.receipts: dict[bytes, list[Receipt]] = {}
        self.receipt_order: list[Receipt] = []
        self._sequence = 0

    def hear(self, topic: str, payload: bytes) -> None:
        """Take what the aggregator has published."""
        if topic == self.topics.manifest:
            self.take_manifest(payload)
        elif topic == self.topics.down(self.id):
            message = envelope.parse(payload, 2**20)
            plain = message.open(self.keys.seal)
            if message.header.type is Type.TASK:
                self.tasks.append((message.header, msgpack.decode(plain, Task)))
            elif message.header.type is Type.RECEIPT:
                receipt = msgpack.decode(plain, Receipt)
                self.receipts.setdefault(receipt.digest, []).append(receipt)
                self.receipt_order.append(receipt)

    def take_manifest(self, payload: bytes) -> None:
        message = envelope.parse(payload, 2**20)
        self.manifest = msgpack.decode(message.clear(), Manifest)
        self.manifest_hash = message.digest

    def task(self) -> Task | None:
        """The task for the current manifest."""
        return next((task for header, task in reversed(self.tasks) if header.manifest == self.manifest_hash), None)

    def brief(self) -> Brief:
        """What the current task asks for."""
        task = self.task()
        assert task is not None
        assert self.manifest is not None
        return open_brief(self.manifest.brief, task.brief_key)

    def presence(
        self, state: str = "ready", sequence: int | None = None, incarnation: int = 0, message: bytes = bytes(16)
    ) -> bytes:
        self._sequence = self._sequence + 1 if sequence is None else sequence
        header = Header(
            Type.PRESENCE,
            self.keys.root.federation,
            self.id,
            message,
            incarnation=incarnation,
            sequence=self._sequence,
        )
        return write_clear(
            header, msgpack.encode(Presence(state, "test", self.keys.credential.not_after)), self.keys.signing
        )  # type: ignore[arg-type]

    def update(self, update: Update | None = None, **header: Any) -> bytes:
        """An update for the current manifest; by default the one-hot vector of this device."""
        manifest = self.manifest
        assert manifest is not None
        update = update or self.default_update(manifest)
        is_training = manifest.phase is Phase.TRAIN and not update.declined and self.task() is not None
        changes = {
            "job": manifest.job,
            "round": manifest.round,
            "attempt": manifest.attempt,
            "manifest": self.manifest_hash,
            "encoding": encoding.CODES[self.brief().encoding] if is_training else 0,
        } | header
        made = Header(Type.UPDATE, self.keys.root.federation, self.id, bytes(16))._replace(**changes)
        recipient = Recipient(manifest.suite, manifest.round_key)
        return write_sealed(made, msgpack.encode(update), self.keys.signing, recipient)

    def default_update(self, manifest: Manifest) -> Update:
        task = self.task()
        metrics = b""
        if task and task.evaluate:  # [samples, Σ loss, Σe², Σ|e|, Σy, Σy²]
            metrics = np.array([2.0, 2.0 / manifest.round, 4.0, 2.0, 3.0, 5.0], "<f8").tobytes()
        if manifest.phase is Phase.STATISTICS:
            d = self.brief().spec.inputs
            x = np.arange(2 * d, dtype=np.float64).reshape(2, d) + self.number
            moments = np.concatenate([[2.0], x.sum(0), (x * x).sum(0)])
            return Update(2, 0, 0.0, moments.astype("<f8").tobytes(), b"", "")
        if manifest.phase is Phase.EVALUATE:
            return Update(0, 0, 0.0, b"", metrics, "")
        brief = self.brief()
        vector = np.zeros(brief.spec.layout().size, np.float32)
        vector[self.number % vector.size] = 1.0
        encoded = encoding.encode(vector, brief.encoding, brief.options)
        return Update(
            samples=1,
            steps=1,
            train_loss=0.5,
            vector=encoded,
            metrics=metrics,
            declined="",
            loss=0.25 if brief.plan.measure_loss else None,
            control=encoded if brief.plan.correction == "scaffold" else b"",
        )


class Rig:
    """Coordinator, archive and devices; a test moves them step by step, and may kill the aggregator between any two."""

    def __init__(
        self, directory: Path, job: str, devices: int, suite: str = "x25519", *, is_own: bool = False, **config: Any
    ) -> None:
        self.directory = directory
        self.state = directory / STATE
        provision(directory, devices, suite, is_own=is_own)  # type: ignore[arg-type]
        (directory / "job.toml").write_text(job)
        self.config = Loaded(
            AggregatorConfig("job.toml", MqttConfig("localhost"), retention=Retention(rounds=100), **config),
            self.state,
            directory / "job.toml",
        )
        self.devices = [self._device(number) for number in range(devices)]
        self.by_id = {device.id: device for device in self.devices}
        self.notices: list[AnyNotice] = []
        self.acknowledged: list[Token] = []
        self.retained: dict[str, bytes] = {}
        self.orders: deque[ev.Order] = deque()
        self.sent: list[ev.Publish] = []
        self.finished = False
        self.warnings: list[str] = []
        self.now_s = 100.0
        self.utc_s = 1.9e9
        self._packet = 0
        self.parts: Parts | None = None

    def add_device(self, number: int) -> FakeDevice:
        """One more."""
        add_device(self.directory, number)
        return self._device(number)

    def _device(self, number: int) -> FakeDevice:
        name = name_of(number)
        return FakeDevice(number, name, load_device_keys(self.directory / name / "keys"))

    def boot(self, link: bool = True) -> None:
        """Start the aggregator, or start it again."""
        self.orders.clear()
        self.parts = assemble(self.config)
        self.handle(ev.Begin())
        if link:
            self.handle(ev.LinkUp())

    def crash(self) -> None:
        """What is not on disk is gone."""
        assert self.parts is not None
        self.parts.archive.close()
        self.parts = None
        self.orders.clear()

    def handle(self, event: ev.Event) -> None:
        assert self.parts is not None
        actions = self.parts.core.handle(event, ev.Now(self.now_s, self.utc_s))
        for action in actions:
            self.perform(action)
        for action in actions:
            if isinstance(action, ev.Publish) and action.tell and self.parts:
                self.handle(Sent(action.topic))

    def perform(self, action: ev.Action) -> None:
        match action:
            case ev.Publish():
                self.sent.append(action)
                if action.retain:
                    self.retained[action.topic] = action.payload
                for device in self.devices:
                    device.hear(action.topic, action.payload)
            case ev.Acknowledge(received):
                self.acknowledged.append(received.token)
            case ev.Store() | ev.Fuse() | ev.Turn() | ev.Decide() | ev.Renew():
                self.orders.append(action)
            case ev.Tell(notice):
                self.notices.append(notice)
            case ev.Warn(problem):
                self.warnings.append(problem)
            case ev.Finish():
                self.finished = True

    def work(self) -> None:
        """Carry out all orders, each answered by its event."""
        while self.orders:
            self.work_once()

    def work_once(self) -> None:
        assert self.parts is not None
        archive, order = self.parts.archive, self.orders.popleft()
        match order:
            case ev.Store(version, answer):
                answers = [answer]
                while self.orders and isinstance(self.orders[0], ev.Store):
                    answers.append(self.orders.popleft().answer)  # type: ignore[union-attr]
                self.handle(archive.add(version, answers))
            case ev.Fuse():
                self.handle(archive.fuse(order))
            case ev.Turn():
                self.handle(archive.turn(order))
            case ev.Decide():
                self.handle(archive.decide([order]))
            case ev.Renew():
                self.handle(archive.renew([order]))

    def receive(self, topic: str, payload: bytes) -> Token:
        self._packet += 1
        token = Token(1, self._packet)
        self.handle(Received(topic, payload, False, token))
        return token

    def ready(self, *devices: FakeDevice) -> None:
        for device in devices or self.devices:
            self.receive(device.topics.state(device.id), device.presence())

    def leave(self, *devices: FakeDevice, state: str = "disconnected") -> None:
        for device in devices or self.devices:
            self.receive(device.topics.state(device.id), device.presence(state))

    def send(self, device: FakeDevice, blob: bytes) -> Token:
        return self.receive(device.topics.up(device.id), blob)

    def answer_all(self) -> None:
        """Every device that has a task for the current round answers it."""
        for device in self.devices:
            if device.task() and device.manifest and device.manifest.phase is not Phase.DONE:
                self.send(device, device.update())
        self.work()

    def finish_job(self, limit: int = 50) -> None:
        for _ in range(limit):
            if self.finished:
                return
            self.answer_all()
            self.leave_if_done()
        raise AssertionError("the job does not end")

    def leave_if_done(self) -> None:
        """Devices that have the final model say goodbye."""
        for device in self.devices:
            if device.manifest and device.manifest.phase is Phase.DONE and device.task():
                self.leave(device)

    def told(self, kind: type[AnyNotice]) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def verdicts(self, device: FakeDevice) -> list[Verdict]:
        return [receipt.verdict for receipt in device.receipt_order]


@pytest.fixture
def make_rig(request, tmp_path):
    """`make_rig(devices=3, **job settings)`: a rig in a directory of its own, not booted yet."""
    rigs = []
    is_own = "broker" in request.fixturenames

    def make(devices: int = 3, suite: str = "x25519", directory: Path = tmp_path, **settings: Any) -> Rig:
        rigs.append(Rig(directory, job_text(**{"devices": devices} | settings), devices, suite, is_own=is_own))
        return rigs[-1]

    yield make
    for rig in rigs:
        if rig.parts is not None:
            rig.crash()


@pytest.fixture
def rig(make_rig):
    """Three devices, ready; the first round is open."""
    rig = make_rig()
    rig.boot()
    rig.ready()
    rig.work()
    return rig


@pytest.fixture
def replace():
    return msgspec.structs.replace


@pytest.fixture
def stopped(rig):
    """A round is open; the process has ended."""
    rig.crash()
    return Stage(rig)
