"""Whom the job waits for, and how long: silent devices, restarts, stalls, and the end."""

from aggregator import events as ev
from aggregator.coordinator import Stage
from aggregator.farewell import MAX_LINGER_S
from aggregator.notices import RoundClosed, RoundOpened, Stalled
from aggregator.patience import ABORTS_BEFORE_STALL
from fedloom.wire.messages import Phase, Update

DEADLINE_S = 60.0


def tick(rig, seconds=DEADLINE_S):
    rig.now_s += seconds
    rig.handle(ev.Tick())
    rig.work()


def answer(rig, *devices):
    for device in devices:
        rig.send(device, device.update())
    rig.work()


def decline_all(rig):
    for device in rig.devices:
        if device.task():
            rig.send(device, device.update(Update(0, 0, 0.0, b"", b"", "no data")))
    rig.work()


def test_a_silent_device_costs_a_deadline_ever_more_seldom(make_rig):
    """It may be there all the same, and only its answer was lost: it is asked again after 1, 2, 4 … rounds."""
    rig = make_rig(count=20)
    rig.boot()
    rig.ready()
    rig.work()
    silent, *others = rig.devices
    invited = []
    for _ in range(13):
        invited.append(rig.told(RoundOpened)[-1].invited)
        answer(rig, *others)
        if invited[-1] == 3:
            tick(rig)
    assert silent.id in rig.parts.fleet.ready
    assert invited == [3, 2, 3, 2, 2, 3, 2, 2, 2, 2, 3, 2, 2]


def test_a_device_whose_answer_was_lost_once_takes_part_again(rig):
    lost, *others = rig.devices
    answer(rig, *others)
    tick(rig)
    answer(rig, *others)
    assert rig.told(RoundOpened)[-1].invited == 3
    answer(rig, lost, *others)
    assert rig.told(RoundClosed)[-1].accepted == 3


def test_a_silent_device_is_back_with_its_next_presence(rig):
    silent, *others = rig.devices
    answer(rig, *others)
    tick(rig)
    rig.ready(silent)
    answer(rig, *others)
    assert rig.told(RoundOpened)[-1].invited == 3


def test_a_silent_device_is_back_with_a_message_that_is_believed(rig):
    silent, *others = rig.devices
    late = silent.update()
    answer(rig, *others)
    tick(rig)
    rig.send(silent, late)
    answer(rig, *others)
    assert rig.told(RoundOpened)[-1].invited == 3


def test_where_all_are_silent_all_are_invited_again(rig):
    tick(rig)
    assert rig.told(RoundOpened)[-1].invited == 3


def restart_with_a_complete_round(rig):
    for device in rig.devices:
        rig.send(device, device.update())
    rig.work_once()
    rig.crash()
    rig.boot()
    rig.work()


def test_after_a_restart_the_next_round_waits_for_the_devices(rig):
    restart_with_a_complete_round(rig)
    rig.ready(rig.devices[2])
    rig.work()
    assert [n.round for n in rig.told(RoundOpened)] == [1]
    rig.ready(*rig.devices[:2])
    rig.work()
    assert rig.told(RoundOpened)[-1].invited == 3


def test_after_a_restart_it_waits_for_a_deadline_at_most(rig):
    restart_with_a_complete_round(rig)
    rig.ready(*rig.devices[1:])
    tick(rig, DEADLINE_S - 1.0)
    assert len(rig.told(RoundOpened)) == 1
    tick(rig, 1.0)
    assert rig.told(RoundOpened)[-1].invited == 2


def test_a_restart_asks_to_be_woken_at_that_deadline(rig):
    restart_with_a_complete_round(rig)
    rig.crash()
    rig.perform = lambda action: wakes.append(action) if isinstance(action, ev.WakeAt) else None
    wakes = []
    rig.boot()
    assert ev.WakeAt(rig.now_s + DEADLINE_S) in wakes


def test_repeated_presence_does_not_end_a_stall(rig):
    for _ in range(40):
        decline_all(rig)
        rig.ready(rig.devices[0])
        rig.work()
    assert len(rig.told(RoundClosed)) == ABORTS_BEFORE_STALL


def test_a_device_that_comes_and_goes_ends_a_stall_ten_times_a_deadline_at_most(rig):
    for _ in range(50):
        decline_all(rig)
        rig.leave(rig.devices[0], state="lost")
        rig.work()
        rig.ready(rig.devices[0])
        rig.work()
    assert len(rig.told(RoundClosed)) == ABORTS_BEFORE_STALL + 1
    assert rig.told(Stalled)
    tick(rig, DEADLINE_S / 10)
    decline_all(rig)
    assert len(rig.told(RoundClosed)) == ABORTS_BEFORE_STALL + 2


def run_to_the_end(rig):
    while rig.devices[0].manifest.phase is not Phase.DONE:
        rig.answer_all()


def test_the_job_ends_when_all_devices_have_said_goodbye(rig):
    run_to_the_end(rig)
    assert not rig.finished
    rig.leave(*rig.devices[:2])
    assert not rig.finished
    rig.leave(rig.devices[2])
    assert rig.finished


def test_a_device_that_was_lost_before_the_end_does_not_hold_it_up(rig):
    while rig.devices[0].manifest.phase is not Phase.EVALUATE:
        rig.answer_all()
    rig.leave(rig.devices[2], state="lost")
    answer(rig, *rig.devices[:2])
    tick(rig)
    answer(rig, *rig.devices[:2])
    assert rig.devices[0].manifest.phase is Phase.DONE
    rig.leave(*rig.devices[:2])
    assert rig.finished


def test_one_that_is_lost_over_the_final_model_may_come_back_for_it(rig):
    run_to_the_end(rig)
    rig.leave(*rig.devices[:2])
    rig.leave(rig.devices[2], state="lost")
    assert not rig.finished
    rig.ready(rig.devices[2])
    rig.leave(rig.devices[2])
    assert rig.finished


def test_one_that_does_not_come_back_is_not_waited_for_for_ever(rig):
    run_to_the_end(rig)
    rig.leave(*rig.devices[:2])
    rig.leave(rig.devices[2], state="lost")
    tick(rig, MAX_LINGER_S)
    assert rig.finished


def test_devices_that_stay_hold_the_end_up_for_a_while_only(rig):
    run_to_the_end(rig)
    tick(rig, MAX_LINGER_S - 1.0)
    assert not rig.finished
    tick(rig, 1.0)
    assert rig.finished


def test_a_broker_that_was_lost_at_the_end_is_told_again_before_the_aggregator_leaves(rig):
    run_to_the_end(rig)
    rig.handle(ev.LinkDown())
    tick(rig, MAX_LINGER_S)
    assert not rig.finished
    rig.retained.clear()
    rig.handle(ev.LinkUp())
    assert rig.retained[rig.devices[0].topics.manifest]
    assert not rig.finished
    rig.leave()
    assert rig.finished


def test_a_process_that_finds_the_job_done_waits_to_hear_of_the_devices(rig):
    run_to_the_end(rig)
    rig.crash()
    rig.boot()
    assert rig.parts.core.coordinator.stage is Stage.DONE
    assert not rig.finished
    rig.leave()
    assert rig.finished


def test_presence_that_is_refused_is_counted(rig):
    device = rig.devices[0]
    for payload in (b"noise", rig.devices[1].presence()):
        rig.receive(device.topics.state(device.id), payload)
    rig.answer_all()
    assert rig.told(RoundClosed)[0].dropped == 2


def test_a_device_that_is_ready_twice_under_one_number_is_warned_of_once(rig):
    device = rig.devices[0]
    topic = device.topics.state(device.id)
    for _ in range(2):
        rig.receive(topic, device.presence(sequence=900))  # the broker may repeat it
    assert rig.warnings == []
    for number in (1, 2):
        rig.receive(topic, device.presence(sequence=900, message=bytes([number]) * 16))
    (told,) = rig.warnings
    assert "'device-0' is there twice: its keys are in use on two hosts" in told
    assert "fedloom device revoke device-0" in told


def test_a_will_under_the_last_number_in_reserve_is_no_second_device(rig):
    device = rig.devices[0]
    topic = device.topics.state(device.id)
    rig.receive(topic, device.presence(sequence=900))
    rig.receive(topic, device.presence("lost", sequence=900))
    assert rig.warnings == []


def test_an_older_incarnation_is_warned_of_once(rig):
    device = rig.devices[0]
    topic = device.topics.state(device.id)
    rig.receive(topic, device.presence(incarnation=1_700_000_000))
    rig.receive(topic, device.presence("lost", incarnation=1_600_000_000))  # the will of the one before
    assert rig.warnings == []
    for _ in range(2):
        rig.receive(topic, device.presence(incarnation=1_600_000_000))
    assert len(rig.warnings) == 1
    assert "'device-0'" in rig.warnings[0]
    assert "set the clock" in rig.warnings[0]
    rig.answer_all()
    assert rig.told(RoundClosed)[0].dropped == 1
