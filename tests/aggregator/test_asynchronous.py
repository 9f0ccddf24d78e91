"""Asynchronous jobs: a round is a buffer, and an answer to an older manifest counts in whichever buffer is open."""

import msgspec
import numpy as np
import pytest
from sqlalchemy import select

from aggregator import events as ev
from aggregator import tables as t
from aggregator.intake import MAX_SHARE
from aggregator.notices import RoundClosed, UpdateSeen
from fedloom.errors import Reason
from fedloom.wire.messages import Phase, Verdict
from strategies.composed import Composed

DEVICES = 4


@pytest.fixture
def make_open(make_rig):
    """The first buffer of two updates is open; four devices are ready."""

    def make(**settings):
        settings = {"count": 4, "evaluate": 0.0, "inputs": 7, "buffer": 2} | settings
        rig = make_rig(devices=DEVICES, **settings)
        rig.boot()
        rig.ready()
        rig.work()
        return rig

    return make


@pytest.fixture
def rig(make_open):
    return make_open()


def answer(rig, *numbers):
    """These devices answer the newest manifest."""
    for number in numbers:
        rig.send(rig.devices[number], rig.devices[number].update())
    rig.work()


def weights(rig, version):
    return rig.parts.archive.registry.load(version).weights


def keys_kept(rig):
    """Versions of the manifests whose keys the store has."""
    with rig.parts.archive.store.engine.connect() as connection:
        query = select(t.rounds.c.manifest_version).where(t.rounds.c.round_key.is_not(None))
        return set(connection.scalars(query))


def restart(rig):
    rig.crash()
    rig.boot()
    rig.ready()
    rig.work()


def test_a_full_buffer_is_fused_without_the_others(rig):
    answer(rig, 0, 1)
    (closed,) = rig.told(RoundClosed)
    assert (closed.round, closed.outcome, closed.accepted) == (1, "done", 2)
    assert rig.devices[0].manifest.round == 2
    assert rig.devices[0].manifest.max_staleness == 3


def test_a_stale_update_counts_in_the_buffer_that_is_open_scaled_down(rig):
    slow = rig.devices[3]
    stale = slow.update()
    answer(rig, 0, 1)
    answer(rig, 0, 1)
    rig.send(slow, stale)
    rig.work()
    answer(rig, 0)
    assert rig.verdicts(slow) == [Verdict.ACCEPTED]
    step = weights(rig, 3) - weights(rig, 2)
    expected = np.zeros(step.size)
    expected[0], expected[3] = 1 / 2, 1 / np.sqrt(3) / 2
    np.testing.assert_allclose(step, expected, atol=1e-6)
    seen = [each for each in rig.told(UpdateSeen) if each.device == slow.name]
    assert [(each.round, each.staleness, each.verdict) for each in seen] == [(3, 2, Verdict.ACCEPTED)]


@pytest.mark.parametrize("restarts", [False, True])
def test_steps_are_bounded_by_the_plan_of_the_round_that_they_were_taken_in(make_open, monkeypatch, restarts):
    def three_epochs_once(self, number, base, state):
        return msgspec.structs.replace(base, local_epochs=3 if number == 1 else 2)

    monkeypatch.setattr(Composed, "plan", three_epochs_once)
    rig = make_open()
    slow, quick = rig.devices[3], rig.devices[2]

    def steps(device, number):
        return device.update(msgspec.structs.replace(device.default_update(device.manifest), steps=number))

    late, too_many = steps(slow, 3), steps(quick, 4)
    answer(rig, 0, 1)
    if restarts:
        restart(rig)
    rig.send(slow, late)
    rig.send(quick, too_many)
    rig.send(quick, steps(quick, 3))
    rig.work()
    assert rig.verdicts(slow) == [Verdict.ACCEPTED]
    assert rig.verdicts(quick) == [Verdict.REJECTED] * 2
    told = [receipt.reason for receipt in quick.receipt_order]
    assert told == [f"steps_exceeded: {number} steps on 1 samples, {most} planned" for number, most in ((4, 3), (3, 2))]


def test_fedasync_mixes_updates_in_one_at_a_time(make_rig):
    rig = make_rig(devices=DEVICES, count=3, evaluate=0.0, inputs=7, buffer=1, min_updates=1)
    path = rig.config.job
    path.write_text(path.read_text().replace('"fedbuff"', '"fedasync"\noptions = { mixing = 0.5 }'))
    rig.boot()
    rig.ready()
    rig.work()
    slow = rig.devices[3]
    stale = slow.update()
    answer(rig, 0)
    answer(rig, 1)
    rig.send(slow, stale)
    rig.work()
    moved = [weights(rig, version + 1) - weights(rig, version) for version in range(3)]
    # α = ½ of each one-hot update, and of that which is two models old ½ · 3^−½
    assert [float(step[number]) for step, number in zip(moved, (0, 1, 3), strict=True)] == pytest.approx(
        [0.5, 0.5, 0.5 / np.sqrt(3.0)], rel=1e-6
    )


def test_a_device_may_be_in_one_buffer_twice_with_different_bases_and_no_more(make_open):
    rig = make_open(buffer=4, count=2)
    device = rig.devices[0]
    first = device.update()
    rig.now_s += 61.0
    rig.handle(ev.Tick())  # nobody has answered: tried again
    rig.work()
    rig.ready()
    second = device.update()
    rig.now_s += 61.0
    rig.handle(ev.Tick())
    rig.work()
    rig.ready()
    third = device.update()
    for blob in (first, second, third):
        rig.send(device, blob)
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED] * MAX_SHARE
    answer(rig, 1, 2)
    step = weights(rig, 1) - weights(rig, 0)
    np.testing.assert_allclose(step[:4], [2 / 4, 1 / 4, 1 / 4, 0], atol=1e-6)
    rig.send(device, third)  # it was told nothing, and is for the next one
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED] * (MAX_SHARE + 1)


def test_a_full_buffer_of_too_few_devices_waits_for_others(make_open):
    rig = make_open(buffer=2, min_updates=2)
    device = rig.devices[0]
    stale = device.update()
    answer(rig, 1, 2)
    rig.send(device, stale)
    answer(rig, 0)
    assert len(rig.told(RoundClosed)) == 1
    answer(rig, 3)
    assert [each.accepted for each in rig.told(RoundClosed)] == [2, 3]


def test_an_update_is_late_when_its_manifest_is_too_old_and_its_key_is_gone(make_open):
    rig = make_open(count=9, max_staleness=2)
    slow = rig.devices[3]
    stale = slow.update()
    for _ in range(2):
        answer(rig, 0, 1)
    assert keys_kept(rig) == {1, 2, 3}
    answer(rig, 0, 1)
    assert keys_kept(rig) == {2, 3, 4}
    rig.send(slow, stale)
    rig.work()
    assert rig.verdicts(slow) == [Verdict.LATE]


def test_all_keys_are_gone_when_training_is_over(make_open):
    rig = make_open(count=2, evaluate=1.0)
    answer(rig, 0, 1)
    assert keys_kept(rig) == {1, 2}
    answer(rig, 0, 1)
    assert rig.devices[0].manifest.phase is Phase.EVALUATE
    assert rig.devices[0].manifest.max_staleness == 0
    assert keys_kept(rig) == {3}
    rig.finish_job()
    assert keys_kept(rig) == set()


def test_keys_of_one_run_are_gone_when_another_begins(rig):
    answer(rig, 0, 1)
    rig.crash()
    path = rig.config.job
    path.write_text(path.read_text().replace("seed = 7", "seed = 8"))
    rig.boot()
    assert keys_kept(rig) == set()


def test_the_statistics_are_a_barrier(make_open):
    rig = make_open(standardise="true")
    assert rig.devices[0].manifest.max_staleness == 0
    answer(rig, 0, 1)
    assert rig.told(RoundClosed) == []
    answer(rig, 2, 3)
    assert rig.devices[0].manifest.phase is Phase.TRAIN
    assert keys_kept(rig) == {2}


@pytest.mark.parametrize("restarts", [False, True])
def test_the_same_update_gets_the_same_receipt_rounds_later(rig, restarts):
    device = rig.devices[0]
    blob = device.update()
    rig.send(device, blob)
    answer(rig, 1)
    answer(rig, 2, 3)
    if restarts:
        restart(rig)
    rig.now_s += 2.0
    rig.send(device, blob)
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED] * 2
    assert [each.accepted for each in rig.told(RoundClosed)] == [2, 2]


@pytest.mark.parametrize("restarts", [False, True])
def test_another_update_for_a_manifest_that_was_answered_is_a_conflict_rounds_later(rig, restarts):
    device = rig.devices[0]
    first, rival = device.update(), device.update()
    rig.send(device, first)
    answer(rig, 1)
    if restarts:
        restart(rig)
    rig.send(device, rival)
    rig.work()
    assert rig.verdicts(device)[-1] is Verdict.REJECTED
    answer(rig, 2, 3)
    step = weights(rig, 2) - weights(rig, 1)
    np.testing.assert_allclose(step[:4], [0, 0, 1 / 2, 1 / 2], atol=1e-6)


def test_what_comes_while_a_full_buffer_is_fused_is_for_the_next(rig):
    late = rig.devices[2]
    blob = late.update()
    for number in (0, 1):
        rig.send(rig.devices[number], rig.devices[number].update())
    rig.work_once()  # both are stored; the fusion is ordered
    rig.send(late, blob)
    rig.send(late, blob)
    assert rig.verdicts(late) == []
    rig.work()
    assert rig.verdicts(late) == [Verdict.ACCEPTED]
    answer(rig, 0)
    assert [each.accepted for each in rig.told(RoundClosed)] == [2, 2]


def test_what_waited_for_the_next_buffer_is_acknowledged_once(rig):
    """By the time that it is stored, the broker may have given its packet id to another message."""
    late = rig.devices[2]
    blob = late.update()
    for number in (0, 1):
        rig.send(rig.devices[number], rig.devices[number].update())
    rig.work_once()
    token = rig.send(late, blob)
    assert rig.acknowledged.count(token) == 1
    rig.work()
    assert rig.verdicts(late) == [Verdict.ACCEPTED]
    assert rig.acknowledged.count(token) == 1


def test_at_the_deadline_enough_are_fused_and_too_few_are_not(make_open):
    rig = make_open(buffer=3, min_updates=2, count=2)
    answer(rig, 0)
    rig.now_s += 61.0
    rig.handle(ev.Tick())
    rig.work()
    rig.ready()
    answer(rig, 0, 1)
    rig.now_s += 61.0
    rig.handle(ev.Tick())
    rig.work()
    assert [(each.round, each.attempt, each.outcome, each.accepted) for each in rig.told(RoundClosed)] == [
        (1, 1, "aborted", 1),
        (1, 2, "done", 2),
    ]


def test_a_round_s_metrics_are_of_its_own_model(make_open):
    rig = make_open(evaluate=1.0)
    stale = rig.devices[3].update()  # says a loss of 1, which is not that of round 2's model
    answer(rig, 0, 1)
    rig.send(rig.devices[3], stale)
    answer(rig, 0)
    first, second = (each.metrics["loss"] for each in rig.told(RoundClosed))
    assert (first, second) == (1.0, 0.5)


def test_a_restart_keeps_buffer_bases_and_keys_to_the_same_model_bit_for_bit(make_rig, tmp_path):
    models = []
    for is_killed in (False, True):
        (tmp_path / str(is_killed)).mkdir()
        settings = {"count": 3, "evaluate": 0.0, "inputs": 7, "buffer": 2}
        rig = make_rig(devices=DEVICES, directory=tmp_path / str(is_killed), **settings)
        rig.boot()
        rig.ready()
        rig.work()
        stale = rig.devices[3].update()
        answer(rig, 0, 1)
        if is_killed:
            restart(rig)
        rig.send(rig.devices[3], stale)
        rig.work()
        if is_killed:
            restart(rig)
        answer(rig, 2)
        answer(rig, 0, 1)
        models.append(weights(rig, 3).tobytes())
    assert models[0] == models[1]


def test_the_key_of_a_manifest_that_is_too_old_is_nowhere_in_the_files(make_open):
    rig = make_open(count=9, max_staleness=1)
    key = rig.parts.core.coordinator._intake.opened.round_key
    answer(rig, 0, 1)
    assert is_in_files(key, rig)
    answer(rig, 0, 1)
    assert not is_in_files(key, rig)


def is_in_files(key, rig):
    return any(key in path.read_bytes() for path in rig.state.rglob("*") if path.is_file())


def test_a_restart_while_the_job_waits_for_devices_forgets_nothing(make_open):
    rig = make_open(count=9)
    first, rival, stale = rig.devices[0].update(), rig.devices[0].update(), rig.devices[3].update()
    rig.leave(rig.devices[2], rig.devices[3])
    rig.send(rig.devices[0], first)
    rig.leave(rig.devices[0])
    answer(rig, 1)
    assert [each.round for each in rig.told(RoundClosed)] == [1]
    assert rig.devices[0].manifest.round == 1  # one device is ready: the next buffer waits
    restart(rig)
    assert rig.devices[0].manifest.round == 2
    for device, blob in ((rig.devices[0], rival), (rig.devices[0], first), (rig.devices[3], stale)):
        rig.now_s += 2.0
        rig.send(device, blob)
    rig.work()
    assert rig.verdicts(rig.devices[0]) == [Verdict.ACCEPTED, Verdict.REJECTED, Verdict.ACCEPTED]
    assert rig.verdicts(rig.devices[3]) == [Verdict.ACCEPTED]


def test_an_update_sealed_to_another_manifest_s_key_is_refused(rig):
    """The key belongs to the manifest that the header names."""
    device = rig.devices[3]
    old = {"manifest": device.manifest_hash, "round": device.manifest.round}
    answer(rig, 0, 1)
    rig.send(device, device.update(**old))  # sealed to the newest manifest's key
    rig.work()
    assert rig.verdicts(device) == []
    assert rig.parts.core.coordinator._intake.refusals == {Reason.WRONG_RECIPIENT: 1}
