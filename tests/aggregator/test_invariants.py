"""Random orders, duplicates, conflicts, lost links and kills between any two actions; then the invariants are checked.

Oracle for I1: device k contributes the k-th one-hot vector with one sample, so a fused step holds 1/n for each of the n
devices whose updates were accepted, and 0 elsewhere; in an asynchronous job the sum of 1/(n √(1 + τ)) over the device's
updates, τ being how many versions of the model lie between.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from aggregator import events as ev
from aggregator import tables as t
from fedloom.wire.envelope import parse
from fedloom.wire.messages import Phase, Verdict

pytestmark = pytest.mark.slow

DEVICES = 4
ROUNDS = 3

Operation = st.one_of(
    st.tuples(st.sampled_from(["fresh", "made", "again", "old", "ready", "lost"]), st.integers(0, DEVICES - 1)),
    st.tuples(st.sampled_from(["work", "work", "work", "crash", "tick", "down", "up"]), st.just(0)),
)


class Chaos:
    """Applies operations to a rig and remembers what the outside world has seen."""

    def __init__(self, rig):
        self.rig = rig
        self.made = {device.number: [] for device in rig.devices}
        self.manifests = {}

    def apply(self, operation, number):
        rig, device = self.rig, self.rig.devices[number]
        made = self.made[number]
        if operation in ("fresh", "made") and device.task() and device.manifest.phase is not Phase.DONE:
            made.append(device.update())
        if operation in ("fresh", "again", "old") and made:
            rig.send(device, made[0 if operation == "old" else -1])
        elif operation in ("ready", "lost"):
            rig.receive(device.topics.state(device.id), device.presence(operation))
        elif operation == "work" and rig.orders:
            rig.work_once()
        elif operation == "crash":
            rig.crash()
            rig.boot()
        elif operation == "tick":
            rig.now_s += 61.0
            rig.handle(ev.Tick())
        elif operation in ("down", "up"):
            rig.handle(ev.LinkUp() if operation == "up" else ev.LinkDown())
        self.look()

    def look(self):
        """I3: a manifest of one version is always the same."""
        device = self.rig.devices[0]
        if device.manifest is not None:
            version = device.manifest.version
            assert self.manifests.setdefault(version, device.manifest_hash) == device.manifest_hash

    def settle(self):
        """Let the job end by honest means."""
        rig = self.rig
        rig.handle(ev.LinkUp())
        for _ in range(100):
            if rig.finished:
                return
            rig.work()
            rig.ready()
            rig.answer_all()
            rig.leave_if_done()
            rig.now_s += 61.0
            rig.handle(ev.Tick())
            rig.work()
            self.look()
        raise AssertionError("the job does not end")


def accepted_of(rig):
    """All rounds by manifest version, and for each the (device, version answered) of the updates that it counts."""
    with rig.parts.archive.store.engine.connect() as connection:
        rounds = connection.execute(select(t.rounds).order_by(t.rounds.c.manifest_version)).all()
        updates = connection.execute(select(t.updates).where(t.updates.c.verdict == "accepted")).all()
    counted = {row.manifest_version: [] for row in rounds}
    for row in updates:
        counted[row.counted_in].append((row.device, row.manifest_version))
    return {row.manifest_version: row for row in rounds}, counted


def check(rig, max_staleness):
    rounds, counted = accepted_of(rig)
    assert any(counted.values())
    for version, row in rounds.items():
        assert row.status != "open"
        assert row.round_key is None
        assert all(version - max_staleness <= base <= version for _, base in counted[version])
        if row.phase != "train" or row.status != "done":
            continue
        before = rig.parts.archive.registry.load(row.model_version).weights
        after = rig.parts.archive.registry.load(row.model_version + 1).weights
        step = (after - before) * len(counted[version])
        expected = np.zeros(step.size)
        for device, base in counted[version]:
            stale = row.model_version - rounds[base].model_version
            expected[rig.by_id[device].number] += 1.0 / np.sqrt(1.0 + stale)
        np.testing.assert_allclose(step, expected, atol=1e-5)


def check_receipts(rig):
    """I2: whoever saw `accepted` is in the store for that round, under that digest."""
    with rig.parts.archive.store.engine.connect() as connection:
        known = {bytes(row.digest): row.verdict for row in connection.execute(select(t.updates))}
    for device in rig.devices:
        for receipt in device.receipt_order:
            if receipt.verdict is Verdict.ACCEPTED:
                assert known[receipt.digest] == "accepted"
                assert Verdict.REJECTED not in {each.verdict for each in device.receipts[receipt.digest]}
            elif receipt.verdict is Verdict.REJECTED:
                assert receipt.digest not in known


@pytest.mark.parametrize(
    "job", [{}, {"cohort": 0.5}, {"buffer": 2, "max_staleness": 2}], ids=["all", "a half", "asynchronous"]
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(Operation, min_size=10, max_size=80))
def test_the_invariants_hold_whatever_happens(make_rig, job, operations):
    with tempfile.TemporaryDirectory() as directory:
        rig = make_rig(devices=DEVICES, directory=Path(directory), inputs=7, count=ROUNDS, over_selection=2.0, **job)
        rig.boot()
        rig.ready()
        chaos = Chaos(rig)
        for operation, number in operations:
            chaos.apply(operation, number)
        chaos.settle()
        check(rig, job.get("max_staleness", 0))
        check_receipts(rig)
        rig.crash()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(DEVICES)), kills=st.sets(st.integers(0, 30)))
def test_a_kill_after_any_step_and_any_order_give_the_same_model(make_rig, order, kills):
    models = []
    for arrivals, killed_at in ((range(DEVICES), set()), (order, kills)):
        with tempfile.TemporaryDirectory() as directory:
            rig = make_rig(devices=DEVICES, directory=Path(directory), inputs=7, count=ROUNDS, evaluate=0.0)
            rig.boot()
            rig.ready()
            step = 0
            while not rig.finished:
                for number in arrivals:
                    device = rig.devices[number]
                    if device.task() and device.manifest.phase is Phase.TRAIN:
                        rig.send(device, device.update())
                while rig.orders:
                    rig.work_once()
                    step += 1
                    if step in killed_at:
                        rig.crash()
                        rig.boot()
                        rig.ready()
                rig.leave_if_done()
            models.append(rig.parts.archive.registry.load(ROUNDS).weights.tobytes())
            rig.crash()
    assert models[0] == models[1]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(3)), kills=st.lists(st.booleans(), max_size=30))
def test_a_kill_after_any_step_and_any_order_give_the_same_asynchronous_model(make_rig, order, kills):
    """Each buffer is of two updates to its own manifest, and of one to the manifest before."""
    models = []
    for arrivals, kills_left in (([0, 1, 2], []), (order, list(kills))):
        with tempfile.TemporaryDirectory() as directory:
            job = {"buffer": 3, "max_staleness": 2, "evaluate": 0.0, "inputs": 7, "count": ROUNDS}
            rig = make_rig(devices=DEVICES, directory=Path(directory), **job)
            rig.boot()
            rig.ready()
            rig.work()
            slow, third, *quick = rig.devices
            stale = third, third.update()
            while slow.manifest.phase is Phase.TRAIN:
                next_stale = slow, slow.update()
                sent = [stale, *((device, device.update()) for device in quick)]
                deliver(rig, [sent[index] for index in arrivals], kills_left)
                stale = next_stale
            rows = accepted_of(rig)[1].values()
            assert [len(each) for each in rows if each] == [3] * ROUNDS
            models.append(rig.parts.archive.registry.load(ROUNDS).weights.tobytes())
            rig.crash()
    assert models[0] == models[1]


def deliver(rig, messages, kills):
    """Send these until each has its receipt; `kills` says of each step, the last one first, whether it is the last."""
    while messages:
        for device, blob in messages:
            rig.send(device, blob)
        while rig.orders:
            rig.work_once()
            if kills and kills.pop():
                rig.crash()
                rig.boot()
                rig.ready()
        rig.now_s += 2.0  # a receipt may be repeated
        messages = [(device, blob) for device, blob in messages if parse(blob, len(blob)).digest not in device.receipts]
