"""A broker that keeps devices away, and devices without usable data: the job is delayed, never left to a few."""

import numpy as np

from aggregator import events as ev
from aggregator.coordinator import Stage
from aggregator.notices import RoundClosed, RoundOpened, Stalled
from aggregator.patience import ABORTS_BEFORE_STALL
from fedloom.wire.messages import Phase, Update

DEADLINE_S = 60.0


def start(rig):
    rig.boot()
    rig.ready()
    rig.work()
    return rig


def tick(rig, seconds=DEADLINE_S):
    rig.now_s += seconds
    rig.handle(ev.Tick())
    rig.work()


def answer(rig, *devices):
    for device in devices:
        rig.send(device, device.update())
    rig.work()


def decline(rig, *devices):
    for device in devices:
        rig.send(device, device.update(Update(0, 0, 0.0, b"", b"", "no data")))
    rig.work()


def version(rig):
    """Of the newest model."""
    model = rig.parts.core.coordinator._progress.model
    return model.version if model else 0


def test_the_devices_that_a_broker_lets_through_do_not_make_the_model_alone(make_rig):
    rig = start(make_rig(devices=5, quorum=0.2, min_updates=3))
    kept, through = rig.devices[:3], rig.devices[3:]
    for _ in range(20):
        answer(rig, *through)
        tick(rig)
    assert {n.outcome for n in rig.told(RoundClosed)} == {"aborted"}
    assert version(rig) == 0
    if rig.parts.core.coordinator.stage is Stage.WAITING:
        tick(rig)
    answer(rig, through[0], *kept)
    tick(rig)
    assert (rig.told(RoundClosed)[-1].outcome, rig.told(RoundClosed)[-1].accepted) == ("done", 4)
    assert version(rig) == 1


def test_without_presence_of_enough_devices_no_round_is_opened(make_rig):
    rig = start(make_rig(devices=5, count=3))
    rig.leave(*rig.devices[2:], state="lost")
    answer(rig, *rig.devices)
    opened = len(rig.told(RoundOpened))
    assert rig.parts.core.coordinator.stage is Stage.WAITING
    assert rig.told(Stalled)[-1].reason == "2 of 3 devices are ready"
    tick(rig, 100 * DEADLINE_S)
    assert len(rig.told(RoundOpened)) == opened
    rig.ready(rig.devices[2])
    rig.work()
    assert rig.told(RoundOpened)[-1].invited == 3


def test_half_of_the_devices_may_have_no_usable_data(make_rig):
    rig = start(make_rig(devices=4))
    for _ in range(2):
        decline(rig, *rig.devices[:2])
        answer(rig, *rig.devices[2:])
    assert [(n.outcome, n.accepted, n.declined) for n in rig.told(RoundClosed)] == [("done", 2, 2)] * 2


def test_if_most_have_none_the_operator_is_told_by_which_key(make_rig):
    rig = start(make_rig(devices=4))
    for _ in range(ABORTS_BEFORE_STALL):
        decline(rig, *rig.devices[:3])
        answer(rig, rig.devices[3])
    assert rig.told(RoundClosed)[-1].reason == "1 updates of 2 needed (rounds.min_updates); no data"
    assert rig.parts.core.coordinator.stage is Stage.WAITING
    assert "rounds.min_updates" in rig.told(Stalled)[-1].reason
    assert version(rig) == 0


def test_devices_whose_updates_are_refused_leave_no_model_to_the_others(make_rig):
    rig = start(make_rig(devices=3, min_updates=3))
    bad = Update(1, 1, 0.5, np.full(4, np.nan, "<f4").tobytes(), b"", "")
    rig.send(rig.devices[0], rig.devices[0].update(bad))
    answer(rig, *rig.devices[1:])
    assert (rig.told(RoundClosed)[0].outcome, rig.told(RoundClosed)[0].rejected) == ("aborted", 1)
    answer(rig, *rig.devices)
    assert rig.told(RoundClosed)[1].outcome == "done"


def test_the_input_layer_is_not_left_to_one_device_either(make_rig):
    rig = start(make_rig(devices=4, standardise="true", cohort=0.25, quorum=1.0))
    assert rig.devices[0].manifest.phase is Phase.STATISTICS
    answer(rig, rig.devices[0])
    decline(rig, *rig.devices[1:])
    assert (rig.told(RoundClosed)[0].phase, rig.told(RoundClosed)[0].outcome) == (Phase.STATISTICS, "aborted")


def test_one_device_may_finish_the_evaluation(make_rig):
    rig = start(make_rig(devices=3, count=1, min_updates=3))
    rig.leave(*rig.devices[1:], state="lost")
    answer(rig, *rig.devices)
    assert rig.devices[0].manifest.phase is Phase.EVALUATE
    assert rig.told(RoundOpened)[-1].invited == 1
    answer(rig, rig.devices[0])
    assert rig.devices[0].manifest.phase is Phase.DONE


def test_min_updates_of_one_goes_on_with_whoever_is_left(make_rig):
    rig = start(make_rig(devices=3, min_updates=1))
    rig.leave(*rig.devices[1:], state="lost")
    answer(rig, *rig.devices)
    answer(rig, rig.devices[0])
    assert [(n.outcome, n.accepted) for n in rig.told(RoundClosed)] == [("done", 3), ("done", 1)]


def test_a_small_cohort_grows_when_devices_leave(make_rig):
    rig = start(make_rig(devices=6, cohort=0.5, min_updates=3, over_selection=1.0))
    rig.leave(*rig.devices[3:], state="lost")
    invited = [device for device in rig.devices if device.task()]
    answer(rig, *invited)
    assert rig.told(RoundOpened)[-1].invited == 3
    answer(rig, *rig.devices[:3])
    assert rig.told(RoundClosed)[-1].outcome == "done"
