"""The coordinator against its own archive: what is published when, what survives, who gets which receipt."""

import numpy as np
import pytest

from aggregator import events as ev
from aggregator.notices import Done, Ready, RoundClosed, RoundOpened, Stalled, Started, UpdateSeen
from aggregator.patience import ABORTS_BEFORE_STALL
from aggregator.stages import Stage
from fedloom.learning.model_file import load
from fedloom.wire.messages import Phase, Update, Verdict
from fedloom.wire.model_blob import open_model


def test_a_job_runs_from_its_first_round_to_its_model(rig):
    rig.finish_job()
    assert [(n.phase, n.round) for n in rig.told(RoundOpened)] == [
        (Phase.TRAIN, 1),
        (Phase.TRAIN, 2),
        (Phase.EVALUATE, 3),
    ]
    assert all(n.outcome == "done" and n.accepted == 3 for n in rig.told(RoundClosed))
    done = rig.told(Done)[0]
    assert done.metrics["loss"] == pytest.approx(1 / 3)
    assert done.rounds == 2
    model = load(rig.parts.archive.registry.path(2))
    assert done.model.endswith("v0002.fedloom")
    assert model.meta["loss"] == "0.333333"
    assert rig.devices[0].manifest.phase is Phase.DONE
    assert rig.devices[0].manifest.round_key == b""


def test_metrics_of_a_round_are_of_the_model_before(rig):
    rig.finish_job()
    assert [n.metrics["loss"] for n in rig.told(RoundClosed)] == pytest.approx([1.0, 0.5, 1 / 3])
    assert [n.train_loss for n in rig.told(RoundClosed)] == [0.5, 0.5, None]


def test_statistics_become_the_input_layer(make_rig):
    rig = make_rig(standardise="true")
    rig.boot()
    rig.ready()
    rig.work()
    assert rig.devices[0].manifest.model is None
    rig.finish_job()
    x = np.concatenate([np.arange(6.0).reshape(2, 3) + number for number in range(3)])
    model = load(rig.parts.archive.registry.path(2))
    np.testing.assert_allclose(model.standardiser.shift, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(model.standardiser.scale, x.std(0), rtol=1e-6)


def test_nothing_is_published_before_the_round_is_durable(make_rig):
    rig = make_rig()
    rig.boot()
    rig.ready()
    assert [p.topic for p in rig.sent] == [rig.devices[0].topics.root(1)]
    rig.work()
    assert [p.topic.rsplit("/", 1)[-1] for p in rig.sent[1:]] == ["0", "manifest", "down", "down", "down"]


def test_the_broadcast_model_opens_with_the_task_key(rig):
    device = rig.devices[0]
    ref = device.manifest.model
    cipher = rig.retained[device.topics.chunk(ref.cipher_hash, 0)]
    weights, standardiser, _ = open_model(cipher, ref, device.task().model_key, 4, None)
    np.testing.assert_array_equal(weights, load(rig.parts.archive.registry.path(0)).weights)
    assert standardiser is None


def test_the_chunks_of_the_model_before_are_cleared(rig):
    first = rig.devices[0].manifest.model
    rig.answer_all()
    topics = rig.devices[0].topics
    assert rig.retained[topics.chunk(first.cipher_hash, 0)] == b""
    assert rig.retained[topics.chunk(rig.devices[0].manifest.model.cipher_hash, 0)]


def test_no_receipt_and_no_acknowledgement_before_the_answer_is_durable(rig):
    device = rig.devices[0]
    token = rig.send(device, device.update())
    assert device.receipt_order == []
    assert token not in rig.acknowledged
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED]
    assert token in rig.acknowledged


def test_the_same_update_gets_the_same_receipt_in_this_round_and_the_next(rig):
    device = rig.devices[0]
    blob = device.update()
    rig.send(device, blob)
    rig.send(device, blob)  # while it is being stored: no word yet
    rig.work()
    rig.send(device, blob)
    rig.answer_all()
    assert rig.devices[0].manifest.round == 2
    rig.now_s += 1.0
    rig.send(device, blob)
    mine = [r for r in device.receipt_order if r.digest == device.receipt_order[0].digest]
    assert [r.verdict for r in mine] == [Verdict.ACCEPTED] * 3


def test_another_update_after_an_accepted_one_is_a_conflict(rig):
    device = rig.devices[0]
    rig.send(device, device.update())
    rig.work()
    rig.send(device, device.update())
    assert rig.verdicts(device) == [Verdict.ACCEPTED, Verdict.REJECTED]
    assert device.receipt_order[-1].reason.startswith("conflict")


def test_an_update_for_an_older_round_is_late(rig):
    device = rig.devices[0]
    old = device.update()
    rig.answer_all()
    rig.send(device, old)
    assert device.receipt_order[-1].verdict is Verdict.LATE


def test_a_rejected_update_does_not_take_the_devices_place(rig):
    device = rig.devices[0]
    bad = device.update(Update(5000, 1, 0.5, bytes(16), b"", ""))
    rig.send(device, bad)
    rig.send(device, bad)
    rig.send(device, device.update())
    rig.work()
    assert rig.verdicts(device) == [Verdict.REJECTED, Verdict.REJECTED, Verdict.ACCEPTED]
    assert rig.told(UpdateSeen)[0].reason.startswith("samples_exceeded")


def test_a_decline_lets_the_others_go_on(rig):
    decline = rig.devices[0].update(Update(0, 0, 0.0, b"", b"", "the battery is low"))
    rig.send(rig.devices[0], decline)
    for device in rig.devices[1:]:
        rig.send(device, device.update())
    rig.work()
    closed = rig.told(RoundClosed)[0]
    assert (closed.outcome, closed.accepted, closed.declined) == ("done", 2, 1)
    assert rig.verdicts(rig.devices[0])[0] is Verdict.DECLINED


def test_too_few_by_the_deadline_is_tried_again_with_the_same_model(rig):
    ref = rig.devices[0].manifest.model
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    rig.work()
    manifest = rig.devices[0].manifest
    assert (manifest.round, manifest.attempt, manifest.closes.outcome) == (1, 2, "aborted")
    assert manifest.model == ref
    assert "2 devices silent" in rig.told(RoundClosed)[0].reason


def test_a_tick_before_the_deadline_closes_nothing(rig):
    rig.now_s += 59.0
    rig.handle(ev.Tick())
    assert rig.parts.core.coordinator.stage is Stage.COLLECTING


def test_five_aborts_stall_the_job_until_the_devices_change(rig):
    for _ in range(ABORTS_BEFORE_STALL):
        rig.now_s += 60.0
        rig.handle(ev.Tick())
        rig.work()
    assert rig.parts.core.coordinator.stage is Stage.WAITING
    assert "5 attempts failed" in rig.told(Stalled)[0].reason
    rig.handle(ev.Tick())
    assert not rig.orders
    rig.leave(rig.devices[0])
    rig.work()
    assert rig.devices[0].manifest.attempt == ABORTS_BEFORE_STALL + 1


def test_a_stalled_job_tries_again_after_a_deadlines_time(rig):
    for _ in range(ABORTS_BEFORE_STALL + 1):
        rig.now_s += 60.0
        rig.handle(ev.Tick())
        rig.work()
    assert rig.devices[0].manifest.attempt == ABORTS_BEFORE_STALL + 1


def test_everybody_declining_never_spins(rig):
    for _ in range(20):
        for device in rig.devices:
            if device.task():
                rig.send(device, device.update(Update(0, 0, 0.0, b"", b"", "no data")))
        rig.work()
    assert rig.parts.core.coordinator.stage is Stage.WAITING
    assert len(rig.told(RoundClosed)) == ABORTS_BEFORE_STALL
    assert "no data" in rig.told(Stalled)[0].reason


def test_a_job_waits_for_its_devices(make_rig):
    rig = make_rig(devices=3)
    rig.boot()
    rig.ready(*rig.devices[:2])
    assert not rig.orders
    assert [n.devices for n in rig.told(Ready)] == [0, 1, 2]
    rig.ready(rig.devices[2])
    assert rig.orders


def test_a_device_that_comes_back_gets_its_task_again_unless_it_has_answered(rig):
    first, second = rig.devices[:2]
    rig.send(first, first.update())
    rig.work()
    rig.ready(first, second)
    assert (len(first.tasks), len(second.tasks)) == (1, 2)


def test_old_presence_is_no_news(rig):
    device = rig.devices[0]
    rig.receive(device.topics.state(device.id), device.presence(sequence=1))
    assert len(device.tasks) == 1


def test_a_device_that_was_lost_is_not_invited(rig):
    device = rig.devices[0]
    rig.receive(device.topics.state(device.id), device.presence("lost"))
    rig.answer_all()
    rig.now_s += 60
    rig.handle(ev.Tick())
    rig.work()
    assert rig.told(RoundOpened)[-1].invited == 2


def test_when_the_link_comes_back_everything_is_said_again(rig):
    rig.handle(ev.LinkDown())
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    before = len(rig.sent)
    rig.handle(ev.LinkUp())
    topics = rig.devices[0].topics
    said = [p.topic for p in rig.sent[before:]]
    assert topics.manifest in said
    assert topics.down(rig.devices[1].id) in said
    assert topics.down(rig.devices[0].id) not in said


def test_over_selection_closes_at_the_target_and_the_rest_is_late(make_rig):
    rig = make_rig(devices=4, cohort=0.5, over_selection=2.0)
    rig.boot()
    rig.ready()
    rig.work()
    opened = rig.told(RoundOpened)[0]
    assert (opened.invited, opened.target) == (4, 2)
    late = rig.devices[3].update()
    for device in rig.devices[:2]:
        rig.send(device, device.update())
    rig.work()
    assert rig.told(RoundClosed)[0].accepted == 2
    rig.send(rig.devices[3], late)
    assert rig.verdicts(rig.devices[3]) == [Verdict.LATE]


def test_devices_that_come_after_the_end_get_the_final_model(rig):
    rig.finish_job()
    device = rig.devices[0]
    count = len(device.tasks)
    rig.ready(device)
    header, task = device.tasks[-1]
    assert len(device.tasks) == count + 1
    assert header.manifest == device.manifest_hash
    assert len(task.model_key) == 32
    assert not task.train


def test_stopping_by_metric(make_rig):
    rig = make_rig(count=50, patience=2)
    rig.boot()
    rig.ready()
    rig.work()
    flat = np.array([2.0, 2.0, 4.0, 2.0, 3.0, 5.0], "<f8").tobytes()
    while rig.devices[0].manifest.phase is Phase.TRAIN:
        for device in rig.devices:
            update = device.default_update(device.manifest)
            rig.send(device, device.update(Update(1, 1, 0.5, update.vector, flat, "")))
        rig.work()
    assert len([n for n in rig.told(RoundClosed) if n.phase is Phase.TRAIN]) == 3


def test_a_fusion_that_fails_aborts_the_attempt(rig):
    for device in rig.devices:
        rig.send(device, device.update())
    rig.work_once()
    assert isinstance(rig.orders.popleft(), ev.Fuse)
    rig.handle(ev.Fused(None, "the model is not finite"))
    rig.work()
    closed = rig.told(RoundClosed)[0]
    assert (closed.outcome, closed.reason) == ("aborted", "the model is not finite")
    assert (rig.devices[0].manifest.round, rig.devices[0].manifest.attempt) == (1, 2)


def test_started_says_whether_a_run_goes_on(rig):
    rig.crash()
    rig.boot()
    assert [n.resumed for n in rig.told(Started)] == [False, True]


def test_an_answer_that_is_being_stored_at_the_deadline_belongs_to_the_round(make_rig):
    rig = make_rig(quorum=0.3)
    rig.boot()
    rig.ready()
    rig.work()
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    assert [type(order) for order in rig.orders] == [ev.Store]
    late = rig.devices[1].update()
    rig.send(rig.devices[1], late)
    assert rig.verdicts(rig.devices[1]) == [], "a crash may still make it count"
    rig.work()
    assert (rig.told(RoundClosed)[0].outcome, rig.told(RoundClosed)[0].accepted) == ("done", 1)
    rig.send(rig.devices[1], late)
    assert rig.verdicts(rig.devices[1]) == [Verdict.LATE]


def test_what_comes_too_late_counts_if_the_end_of_the_round_is_not_durable(make_rig):
    rig = make_rig(quorum=0.3)
    rig.boot()
    rig.ready()
    rig.work()
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    assert [type(order) for order in rig.orders] == [ev.Fuse]
    late = rig.devices[1].update()
    rig.send(rig.devices[1], late)
    rig.crash()
    rig.boot()
    rig.send(rig.devices[1], late)
    rig.work()
    assert rig.verdicts(rig.devices[1]) == [Verdict.ACCEPTED]


def test_presence_of_strangers_and_noise_changes_nothing(rig):
    device = rig.devices[0]
    for payload in (b"", b"noise", rig.devices[1].presence()):
        token = rig.receive(device.topics.state(device.id), payload)
        assert token in rig.acknowledged
    assert len(rig.parts.fleet.ready) == 3


def test_dropped_messages_are_counted_in_the_round_s_notice(rig):
    device, other = rig.devices[:2]
    for payload in (b"noise", other.update()):
        rig.send(device, payload)
    rig.answer_all()
    assert rig.told(RoundClosed)[0].dropped == 2


def test_what_is_dropped_while_a_turn_is_written_is_counted_in_the_next_round_s_notice(rig):
    for device in rig.devices:
        rig.send(device, device.update())
    while not isinstance(rig.orders[0], ev.Turn):
        rig.work_once()
    rig.send(rig.devices[0], b"noise")
    rig.work()
    rig.answer_all()
    assert [notice.dropped for notice in rig.told(RoundClosed)] == [0, 1]
