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
from fedloom.wire.messages import Phase, Update, Verdict

MAX = 2**20
ROUNDS = 6
STALENESS = 2


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
        self.arrived: dict[bytes, bytes] = {}
        """What an aggregator has counted, perhaps without telling: manifest → digest, the first one."""
        self.carried: dict[bytes, bytes] = {}
        """Digest of an update → the residual that is a part of it."""
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
                self.carried[entry.digest] = self.residual
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

    def arrive(self) -> None:
        """All that was published is counted, once a manifest."""
        for manifest, digests in self.updates.items():
            self.arrived.setdefault(manifest, min(digests))

    def verdict_on(self, entry: OutboxEntry) -> Verdict:
        """The first update to a manifest counts."""
        return Verdict.ACCEPTED if self.arrived.get(entry.manifest) == entry.digest else Verdict.REJECTED

    def check_residuals(self) -> None:
        """A residual is added to the model at most once, and only after the update that it was left by."""
        used = [self.carried[digest] for digest in self.arrived.values() if self.carried[digest]]
        assert len(used) == len(set(used)), "a residual was counted twice"
        assert set(used) <= set(self.arrived.values()), "a residual of an update that was not counted"

    def train(self) -> None:
        if self.work is not None:
            work, self.work = self.work, None
            self.residual = work.residual
            self.tell(Trained(work, Answer(Update(3, 1, 0.5, b"\1" * 24, b"", ""), 1, b"residual")))


@pytest.fixture
def device_keys(aggregator: Any, tmp_path: Path) -> DeviceKeys:
    aggregator.write_keys(tmp_path / "identity")
    return load_device_keys(tmp_path / "identity")


@pytest.fixture(params=[0, STALENESS], ids=["synchronous", "asynchronous"])
def history(aggregator: Any, request: Any) -> list[tuple[str, bytes]]:
    """All that an aggregator says over the rounds, and the end, as (topic, payload); no receipts."""
    said: list[tuple[str, bytes]] = []
    for number in range(ROUNDS):
        phase = Phase.STATISTICS if number == 0 else Phase.DONE if number == ROUNDS - 1 else Phase.TRAIN
        model = aggregator.model(number, float(number)) if number else None
        staleness = request.param if phase is Phase.TRAIN else 0
        manifest = aggregator.manifest(phase, model, max_staleness=staleness)
        said.append((aggregator.topics.manifest, manifest))
        said.append((aggregator.topics.down(aggregator.device), aggregator.task(manifest)))
        if model:
            said.append((aggregator.topics.chunk(model.ref.cipher_hash, 0), model.chunk(0)))
    return said


STEPS = st.lists(
    st.one_of(
        st.integers(0, 3 * ROUNDS - 2).map(lambda index: ("say", index)),
        st.integers(0, ROUNDS - 1).map(lambda number: ("round", number)),
        st.sampled_from([("next", 0), ("next and train", 0)]),
        st.just(("train", 0)),
        st.just(("receipt", 0)),
        st.just(("late", 0)),
        st.just(("time", 0)),
        st.just(("connection", 0)),
        st.integers(0, 6).map(lambda actions: ("kill", actions)),
    ),
    max_size=60,
)


def answer(device: Device, aggregator: Any, is_late: bool) -> None:
    """Receipts for what was published. What is late may have been counted, so long ago that nobody knows any more."""
    device.arrive()
    for entry in [each for each in device.outbox.values() if each.manifest in device.updates]:
        verdict = Verdict.LATE if is_late else device.verdict_on(entry)
        device.tell(Came(aggregator.topics.down(aggregator.device), aggregator.receipt(entry.blob, verdict)))


def take(device: Device, aggregator: Any, history: list[tuple[str, bytes]], name: str, number: int) -> None:
    """One step of the adversary."""
    match name:
        case "say":
            device.tell(Came(*history[number]))
        case "round" | "next" | "next and train":
            number = number if name == "round" else device.state.manifest_version
            for topic, payload in history[max(0, 3 * number - 1) : 3 * number + 2]:
                device.tell(Came(topic, payload))
            if name == "next and train":
                device.train()
        case "train":
            device.train()
        case "receipt" | "late":
            answer(device, aggregator, is_late=name == "late")
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
    device.check_residuals()
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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    endings=st.lists(st.sampled_from(["receipt", "late", "nothing"]), min_size=ROUNDS - 1, max_size=ROUNDS - 1),
    kills=st.lists(st.none() | st.integers(0, 9), min_size=ROUNDS - 1, max_size=ROUNDS - 1),
)
def test_what_an_encoding_has_lost_is_never_counted_twice(
    aggregator: Any,
    device_keys: DeviceKeys,
    history: list[tuple[str, bytes]],
    endings: list[str],
    kills: list[int | None],
) -> None:
    device = Device(device_keys)
    for ending, kill in zip(endings, kills, strict=True):
        device.kill_after = kill
        take(device, aggregator, history, "next and train", 0)
        device.kill_after = kill
        if ending == "nothing":
            device.arrive()
        else:
            take(device, aggregator, history, ending, 0)
    device.check_residuals()
