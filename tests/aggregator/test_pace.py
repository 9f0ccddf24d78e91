"""Pace steering: when devices are wanted again, and for how long the next round waits for those that sleep."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator import events as ev
from aggregator.notices import Ready, RoundClosed, RoundOpened
from aggregator.pace import LATE_S, LEAD_S, come_back_s
from aggregator.present import PresenceNote, read_presence

ROUND_S = 40.0
seconds = st.floats(0.0, 1e6)


@given(next_s=seconds, devices=st.integers(1, 50), draw=st.floats(0.0, 1.0, exclude_max=True))
def test_a_small_fleet_is_back_together_shortly_before_the_round(next_s, devices, draw):
    wanted_s = come_back_s(next_s, devices, 20.0, draw)
    assert wanted_s <= max(next_s, devices / 20.0)
    assert wanted_s >= next_s - LEAD_S - 1e-6


@given(next_s=seconds, devices=st.integers(1000, 10**6), rate=st.floats(0.1, 100.0))
def test_a_large_fleet_never_exceeds_the_rate(next_s, devices, rate):
    """Even draws, as many as devices: in no window are there more than the rate allows."""
    draws = [number / 50 for number in range(50)]
    times = sorted(come_back_s(next_s, devices, rate, draw) for draw in draws)
    spread_s = min(devices / rate, 2_592_000.0)
    if spread_s < 2_592_000.0 and next_s + spread_s < 2_592_000.0:
        gaps = [late - early for early, late in itertools.pairwise(times)]
        assert min(gaps) >= 0.99 * spread_s / 50
    assert all(0.0 <= each <= 2_592_000.0 for each in times)


@pytest.fixture
def paced(make_rig):
    """Three devices; one round took ROUND_S, the second is open and its first two devices are about to answer."""
    rig = make_rig(count=5)
    rig.boot()
    rig.ready()
    rig.work()
    for device in rig.devices[:2]:
        rig.send(device, device.update())
    rig.now_s += ROUND_S
    rig.send(rig.devices[2], rig.devices[2].update())
    rig.work()
    assert len(rig.told(RoundOpened)) == 2
    return rig


def receipt_of(rig, device):
    rig.send(device, device.update())
    rig.work()
    return device.receipt_order[-1]


def test_nobody_is_sent_to_sleep_before_it_is_known_how_long_a_round_takes(rig):
    assert receipt_of(rig, rig.devices[0]).come_back_s == 0


def test_who_has_answered_is_wanted_shortly_before_the_round_is_expected_to_end(paced):
    wanted_s = receipt_of(paced, paced.devices[0]).come_back_s
    assert ROUND_S - LEAD_S - 1 <= wanted_s <= ROUND_S


def test_a_repeated_receipt_names_the_same_moment(paced):
    device = paced.devices[0]
    blob = device.update()
    paced.send(device, blob)
    paced.work()
    paced.now_s += 10
    paced.send(device, blob)
    first, second = device.receipts[device.receipt_order[-1].digest]
    assert first.come_back_s - second.come_back_s in (10, 9, 11)


def test_whose_answer_ends_the_round_is_wanted_at_once_because_the_next_one_opens(paced):
    *others, last = paced.devices
    assert all(receipt_of(paced, each).come_back_s > 0 for each in others)
    assert receipt_of(paced, last).come_back_s == 0
    assert paced.told(RoundOpened)[-1].invited == 3


def test_a_device_that_is_late_but_invited_is_wanted_at_once(paced):
    """Its answer to the round before came late; it has yet to answer the open one."""
    device = paced.devices[0]
    for each in paced.devices:
        paced.send(each, each.update())
    paced.work()
    late = device.update(round=1, attempt=1, manifest=bytes(32))
    paced.send(device, late)
    assert device.receipt_order[-1].verdict == "late"
    assert device.receipt_order[-1].come_back_s == 0


def test_a_declining_device_may_sleep_as_well(paced):
    device = paced.devices[0]
    update = device.default_update(device.manifest)
    declined = type(update)(0, 0, 0.0, b"", b"", "battery")
    paced.send(device, device.update(declined))
    paced.work()
    assert device.receipt_order[-1].come_back_s > 0


def sleep(rig, *devices):
    for device in devices:
        receipt_of(rig, device)
        rig.leave(device, state="sleeping")


def test_the_next_round_waits_for_the_sleepers_and_opens_when_they_are_back(paced):
    a, b, c = paced.devices
    sleep(paced, a, b)
    paced.now_s += 1
    paced.send(c, c.update())  # sooner than expected
    paced.work()
    assert len(paced.told(RoundClosed)) == 2
    assert len(paced.told(RoundOpened)) == 2
    assert paced.told(Ready)[-1].sleeping == 2
    paced.ready(a)
    paced.work()
    assert len(paced.told(RoundOpened)) == 2
    paced.ready(b)
    paced.work()
    assert paced.told(RoundOpened)[-1].invited == 3


def test_a_sleeper_that_does_not_come_back_is_waited_for_no_longer_than_its_time(paced):
    a, b, c = paced.devices
    sleep(paced, a)
    for device in (b, c):
        paced.send(device, device.update())
    paced.work()
    assert len(paced.told(RoundOpened)) == 2
    paced.now_s += ROUND_S + LATE_S + 1
    paced.handle(ev.Tick())
    paced.work()
    assert paced.told(RoundOpened)[-1].invited == 2


def test_a_sleeping_device_delays_no_open_round_past_its_deadline(paced):
    a, b, _ = paced.devices
    sleep(paced, a, b)
    paced.now_s += 60.0  # the third is silent; the quorum is all
    paced.handle(ev.Tick())
    paced.work()
    assert paced.told(RoundClosed)[-1].outcome == "aborted"


def test_status_counts_sleepers(paced, tmp_path):
    sleep(paced, paced.devices[0])
    note = PresenceNote(tmp_path, paced.parts.fleet)
    note.update()
    found = read_presence(tmp_path)
    assert (found.ready, found.sleeping) == (2, 1)
    assert (tmp_path / "presence").stat().st_mode & 0o077 == 0
    (tmp_path / "presence").write_text("{")
    assert read_presence(tmp_path) is None


def test_nobody_is_sent_to_sleep_when_the_final_model_is_next(make_rig):
    rig = make_rig(count=1)
    rig.boot()
    rig.ready()
    rig.work()
    rig.now_s += ROUND_S
    rig.answer_all()
    assert rig.told(RoundOpened)[-1].phase == "evaluate"
    assert receipt_of(rig, rig.devices[0]).come_back_s == 0
