"""The session under an adversary: messages lost, repeated, in any order; the process killed between any two actions."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_client.events import (
    Abandon,
    Answer,
    Came,
    Connected,
    Disconnected,
    DropOutbox,
    PersistState,
    Publish,
    SaveModel,
    Started,
    StoreOutbox,
    Tick,
    Train,
    Trained,
    Work,
)
from edge_client.rounds import Bounds
from edge_client.session import Session
from edge_client.state import DeviceState, OutboxEntry
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from fedloom.wire.envelope import Type, parse
from fedloom.wire.messages import Phase, Update

MAX = 2**20
ROUNDS = 4


class Device:
    """A session with a disk in memory; `kill_after` actions from now the process dies."""

    def __init__(self, keys: DeviceKeys) -> None:
        self.keys = keys
        self.state = DeviceState(keys.id, 1)
        self.outbox: dict[bytes, OutboxEntry] = {}
        self.work: Work | None = None
        self.kill_after: int | None = None
        self.now_s = 0.0
        self.versions: list[int] = []
        self.sequences: list[int] = []
        self.updates: dict[bytes, set[bytes]] = {}
        self.start()

    def start(self) -> None:
        entries, bounds = tuple(self.outbox.values()), Bounds(MAX, MAX)
        self.session = Session(self.keys, self.state, entries, bounds, bytes, lambda: 0.5)
        self.work = None
        self.tell(Started())
        self.tell(Connected(MAX))

    def tell(self, event: Any) -> None:
        for action in self.session.handle(event, self.now_s):
            if self.kill_after == 0:
                self.kill_after = None
                self.start()
                return
            if self.kill_after is not None:
                self.kill_after -= 1
            self.carry_out(action)

    def carry_out(self, action: Any) -> None:
        match action:
            case PersistState(state):
                self.versions.append(state.manifest_version)
                self.state = state
            case StoreOutbox(entry, _):
                self.outbox[entry.digest] = entry
            case DropOutbox(digest):
                self.outbox.pop(digest, None)
            case Train(work):
                assert work.manifest_hash == self.state.manifest_hash, "work for a manifest that is not on disk"
                self.work = work
            case Abandon():
                self.work = None
            case SaveModel(work):
                assert work.manifest_hash == self.state.manifest_hash
            case Publish(_, payload):
                self.check_published(payload)

    def check_published(self, payload: bytes) -> None:
        envelope = parse(payload, MAX)
        assert envelope.header.sequence < self.state.sequence, "a number that is not reserved on disk"
        if envelope.header.type is Type.UPDATE:
            assert envelope.digest in self.outbox, "published before it was stored"
            self.updates.setdefault(envelope.header.manifest, set()).add(envelope.digest)
        elif envelope.header.sequence not in self.sequences:
            self.sequences.append(envelope.header.sequence)

    def train(self) -> None:
        if self.work is not None:
            work, self.work = self.work, None
            self.tell(Trained(work, Answer(Update(3, 1, 0.5, b"\1" * 24, b"", ""), 1, b"residual")))


@pytest.fixture
def device_keys(aggregator: Any, tmp_path: Path) -> DeviceKeys:
    aggregator.write_keys(tmp_path / "identity")
    return load_device_keys(tmp_path / "identity")


@pytest.fixture
def history(aggregator: Any) -> list[tuple[str, bytes]]:
    """All that an aggregator says over four rounds, and the end, as (topic, payload); no receipts."""
    said: list[tuple[str, bytes]] = []
    for number in range(ROUNDS):
        phase = Phase.STATISTICS if number == 0 else Phase.DONE if number == ROUNDS - 1 else Phase.TRAIN
        model = aggregator.model(number, float(number)) if number else None
        manifest = aggregator.manifest(phase, model)
        said.append((aggregator.topics.manifest, manifest))
        said.append((aggregator.topics.down(aggregator.device), aggregator.task(manifest)))
        if model:
            said.append((aggregator.topics.chunk(model.ref.cipher_hash, 0), model.chunk(0)))
    return said


STEPS = st.lists(
    st.one_of(
        st.integers(0, 3 * ROUNDS - 2).map(lambda index: ("say", index)),
        st.integers(0, ROUNDS - 1).map(lambda number: ("round", number)),
        st.just(("train", 0)),
        st.just(("receipt", 0)),
        st.just(("time", 0)),
        st.just(("connection", 0)),
        st.integers(0, 6).map(lambda actions: ("kill", actions)),
    ),
    max_size=60,
)


def take(device: Device, aggregator: Any, history: list[tuple[str, bytes]], name: str, number: int) -> None:
    """One step of the adversary."""
    match name:
        case "say":
            device.tell(Came(*history[number]))
        case "round":
            for topic, payload in history[max(0, 3 * number - 1) : 3 * number + 2]:
                device.tell(Came(topic, payload))
        case "train":
            device.train()
        case "receipt":
            for entry in list(device.outbox.values()):
                device.tell(Came(aggregator.topics.down(aggregator.device), aggregator.receipt(entry.blob)))
        case "time":
            device.now_s += 300.0
            device.tell(Tick())
        case "connection":
            device.tell(Disconnected())
            device.tell(Connected(MAX))
        case "kill":
            device.kill_after = number


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_the_invariants_hold_and_the_last_round_is_reached(
    aggregator: Any, device_keys: DeviceKeys, history: list[tuple[str, bytes]], steps: list[tuple[str, int]]
) -> None:
    device = Device(device_keys)
    for name, number in steps:
        take(device, aggregator, history, name, number)
    assert device.versions == sorted(device.versions), "an older manifest was applied"
    assert len(device.outbox) <= 2  # the second one when the process died before it could drop the first
    # Without faults the device always gets to the end.
    device.kill_after = None
    device.start()
    for topic, payload in history[-3:]:
        device.tell(Came(topic, payload))
    assert device.state.manifest_version == ROUNDS
    assert device.state.answered == device.state.manifest_hash
    assert device.outbox == {}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kill_after=st.integers(0, 12), repeats=st.integers(1, 3))
def test_a_kill_at_any_action_leaves_one_answer_a_round(
    aggregator: Any, device_keys: DeviceKeys, history: list[tuple[str, bytes]], kill_after: int, repeats: int
) -> None:
    device = Device(device_keys)
    device.kill_after = kill_after
    for _ in range(1 + repeats):
        for topic, payload in history[:2]:
            device.tell(Came(topic, payload))
        device.train()
    (digests,) = device.updates.values()
    assert len(digests) == 1
    assert set(device.outbox) == digests
