"""A control variate advances exactly when the aggregator has counted the update that carries its change."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from session_parts import only

from edge_client.events import (
    Abandon,
    Answer,
    Came,
    Connected,
    DropOutbox,
    PersistState,
    Started,
    StoreOutbox,
    Tick,
    Train,
    Trained,
    Work,
)
from edge_client.outbox import StateDirectory
from edge_client.rounds import Bounds
from edge_client.session import Session
from edge_client.state import DeviceState
from fedloom.learning.plan import TrainPlan
from fedloom.trust.device_keys import DeviceKeys, load_device_keys
from fedloom.wire.messages import Update, Verdict

PLAN = TrainPlan(loss="cross_entropy", correction="scaffold")
UPDATE = Update(10, 2, 1.5, b"\0" * 24, b"", "", control=b"\0" * 24)
ANSWER = Answer(UPDATE, 1, None, b"variate ")


def offered(bench: Any, counted: bytes = b"") -> Any:
    """The entry of a round that the device has answered."""
    (stored,) = only(bench.do(Trained(bench.work(counted, plan=PLAN), ANSWER)), StoreOutbox)
    assert stored.control == b"variate "
    assert stored.entry.has_control
    return stored.entry


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_the_next_task_decides_whatever_the_receipt_has_said(aggregator: Any, bench: Any, verdict: Any) -> None:
    entry = offered(bench)
    if verdict is not None:
        bench.down(aggregator.receipt(entry.blob, verdict))
    assert bench.work(entry.digest, plan=PLAN).control == entry.digest
    assert (bench.state.control, bench.state.offered) == (entry.digest, b"")


@pytest.mark.parametrize("verdict", [*Verdict, None])
def test_what_is_not_in_a_model_does_not_advance_it(aggregator: Any, bench: Any, verdict: Any) -> None:
    first = offered(bench)
    second = offered(bench, counted=first.digest)
    if verdict is not None:
        bench.down(aggregator.receipt(second.blob, verdict))
    assert bench.work(first.digest, plan=PLAN).control == first.digest
    assert (bench.state.control, bench.state.offered) == (first.digest, b"")


def test_nothing_counted_is_zero_and_so_is_another_job(aggregator: Any, bench: Any) -> None:
    first = offered(bench)
    assert bench.work(first.digest, plan=PLAN).control == first.digest
    aggregator.job = b"K" * 16
    assert bench.work(b"", plan=PLAN).control == b""
    assert (bench.state.control, bench.state.control_job) == (b"", b"")


def test_a_variate_that_is_lost_leaves_the_one_before(bench: Any) -> None:
    first = offered(bench)
    assert bench.work(first.digest, plan=PLAN).control == first.digest
    assert bench.work(b"?" * 32, plan=PLAN).control == first.digest


def test_the_state_names_it_before_the_update_goes(aggregator: Any, bench: Any) -> None:
    entry = offered(bench)
    actions = bench.down(aggregator.receipt(entry.blob))
    kinds = [type(action) for action in actions]
    assert kinds.index(PersistState) < kinds.index(DropOutbox)
    assert bench.state.offered == entry.digest


def test_an_update_that_is_given_up_is_the_only_one_for_its_manifest(aggregator: Any, make_bench: Any) -> None:
    """It may be counted yet: a second one would be made from a variate of which nobody knows whether it is current."""
    bench = make_bench(max_outbox_age_s=10.0)
    bench.up()
    model = aggregator.model()
    manifest = aggregator.manifest(model=model, plan=PLAN)
    actions = [*bench.manifest(manifest), *bench.down(aggregator.task(manifest)), *bench.chunks(model)]
    (work,) = [action.work for action in actions if isinstance(action, Train)]
    (stored,) = only(bench.do(Trained(work, ANSWER)), StoreOutbox)
    bench.now_s += 20.0
    assert only(bench.do(Tick()), DropOutbox)
    assert only(bench.down(aggregator.task(manifest)), Train) == []
    assert bench.work(stored.entry.digest, plan=PLAN).control == stored.entry.digest


def test_plain_jobs_leave_it_alone(aggregator: Any, bench: Any) -> None:
    first = offered(bench)
    bench.down(aggregator.receipt(first.blob))
    assert bench.work().residual == b""
    assert bench.state.offered == first.digest


class Device:
    """A session and its real state directory; `kill_after` actions from now the process dies."""

    def __init__(self, keys: DeviceKeys, path: Path) -> None:
        self.keys, self.path = keys, path
        self.kill_after: int | None = None
        self.work: Work | None = None
        self.directory: StateDirectory | None = None
        self.answered: dict[bytes, bytes] = {}
        """Manifest → the first update for it that has left."""
        self.start()

    def start(self) -> None:
        if self.directory is not None:
            self.directory.release()
        self.directory = StateDirectory(self.path)
        self.directory.hold()
        contents = self.directory.read()
        contents = self.directory.tidy(contents._replace(state=contents.state or DeviceState(self.keys.id, 1)))
        assert contents.state is not None
        assert contents.damaged == ()
        self.session = Session(self.keys, contents.state, contents.entries, Bounds(2**20, 2**20), bytes, lambda: 0.5)
        self.work = None
        self.tell(Started())
        self.tell(Connected(2**20))

    def tell(self, event: Any) -> None:
        directory = self.directory
        assert directory is not None
        for action in self.session.handle(event, 0.0):
            if self.kill_after == 0:
                self.kill_after = None
                self.start()
                return
            if self.kill_after is not None:
                self.kill_after -= 1
            match action:
                case Train(work):
                    self.work = work
                case Abandon():
                    self.work = None
                case PersistState(state):
                    directory.write_state(state)
                case StoreOutbox(entry, residual, control):
                    directory.store(entry, residual, control)
                case DropOutbox(digest):
                    directory.drop(digest)
        for each in directory.read().entries:
            self.answered.setdefault(each.manifest, each.digest)

    def own(self, work: Work) -> float:
        assert self.directory is not None
        return float(np.frombuffer(self.directory.controls.read(work.control), "<f4")[0]) if work.control else 0.0

    def train(self, change: float) -> dict[bytes, float]:
        """Answer the work that there is; returns what the update brings, by its manifest."""
        if self.work is None:
            return {}
        work, self.work = self.work, None
        kept = np.array([self.own(work) + change], "<f4").tobytes()
        self.tell(Trained(work, ANSWER._replace(control=kept)))
        return {work.manifest_hash: change}


class Round(msgspec.Struct):
    """What befalls one round."""

    is_done: bool
    arrives: bool
    verdict: Verdict | None
    kills: tuple[int | None, ...]
    """For each of its steps: after how many actions the process dies."""


ROUNDS = st.lists(
    st.builds(
        Round,
        is_done=st.booleans(),
        arrives=st.booleans(),
        verdict=st.sampled_from([None, Verdict.ACCEPTED, Verdict.LATE]),
        kills=st.tuples(*[st.none() | st.integers(0, 5)] * 4),
    ),
    min_size=2,
    max_size=8,
)


@contextmanager
def state_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path, mock.patch("os.fsync"):
        yield Path(path) / "state"


@pytest.fixture
def device_keys(aggregator: Any, tmp_path: Path) -> DeviceKeys:
    aggregator.write_keys(tmp_path / "identity")
    return load_device_keys(tmp_path / "identity")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS)
def test_whatever_breaks_the_device_is_where_the_aggregator_has_counted_it_to_be(
    aggregator: Any, device_keys: DeviceKeys, rounds: list[Round]
) -> None:
    with state_directory() as path:
        device, down = Device(device_keys, path), aggregator.topics.down(aggregator.device)
        counted, total = b"", 0.0
        for number, each in enumerate(rounds):
            model = aggregator.model(number, float(number))
            manifest = aggregator.manifest(model=model, plan=PLAN)
            said = [
                Came(aggregator.topics.manifest, manifest),
                Came(down, aggregator.task(manifest, counted=counted)),
                Came(aggregator.topics.chunk(model.ref.cipher_hash, 0), model.chunk(0)),
            ]
            changes: dict[bytes, float] = {}
            for kill in each.kills[:2]:  # the task comes again to who has not answered
                device.kill_after = kill
                for message in said:
                    device.tell(message)
                if device.work is not None:
                    assert device.own(device.work) == total
                changes |= device.train(float(2**number))
            device.kill_after = each.kills[2]
            digest = device.answered.get(aggregator.head)
            if digest is not None and each.verdict is not None:
                entries = device.directory.read().entries  # type: ignore[union-attr]
                for entry in entries:
                    device.tell(Came(down, aggregator.receipt(entry.blob, each.verdict)))
            if digest is not None and each.is_done and each.arrives:
                counted, total = digest, total + changes[aggregator.head]
        device.directory.release()  # type: ignore[union-attr]
