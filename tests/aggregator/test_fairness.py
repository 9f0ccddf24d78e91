"""One device says far too much: the others' round goes on, and what it costs is bounded."""

from collections import deque
from types import SimpleNamespace

import pytest

from aggregator import events as ev
from aggregator.assembler import Assembler
from aggregator.notices import RoundClosed, UpdateSeen
from aggregator.service import MAX_UNACKNOWLEDGEABLE, Service
from aggregator.throttle import BLAME_FROM, PRESENCES, REPEAT_S, SPARE, Throttle
from fedloom.link.base import Received, Token
from fedloom.trust import signing
from fedloom.wire.chunks import MAX_FRAME, Transfer, split
from fedloom.wire.messages import Update, Verdict

SIZE = SPARE + 2
"""Messages in a full bucket, where an update fits one frame."""


@pytest.fixture
def checks(monkeypatch):
    """Counts signature checks."""
    counted = []
    real = signing.VerifyingKey.verify_hashed
    monkeypatch.setattr(signing.VerifyingKey, "verify_hashed", lambda *args: (counted.append(1), real(*args))[1])
    return counted


def answer(rig, *devices):
    for device in devices:
        rig.send(device, device.update())
    rig.work()


def wait_for_the_deadline(rig):
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    rig.work()


def test_a_flood_of_noise_is_dropped_unread_and_the_job_goes_on_without_its_sender(rig):
    evil, *others = rig.devices
    tokens = [rig.send(evil, b"noise") for _ in range(1000)]
    assert set(tokens) <= set(rig.acknowledged)
    answer(rig, *others)
    wait_for_the_deadline(rig)
    answer(rig, *others)
    first, second = rig.told(RoundClosed)
    assert (first.outcome, first.accepted, first.rejected, first.dropped) == ("aborted", 2, 0, 1000)
    assert (second.outcome, second.accepted) == ("done", 2)


def test_who_floods_the_topics_of_others_does_not_make_the_model_alone(rig):
    evil, *others = rig.devices
    for device in others:
        for _ in range(100):
            rig.send(device, b"noise of a stranger")
    answer(rig, evil)
    assert rig.told(RoundClosed) == []  # the others are still waited for
    assert rig.parts.core.coordinator.handle(ev.Tick(), ev.Now(rig.now_s + 59.0, rig.utc_s)) == []
    wait_for_the_deadline(rig)
    closed = rig.told(RoundClosed)[0]
    assert (closed.outcome, closed.accepted, closed.rejected) == ("aborted", 1, 0)
    answer(rig, *rig.devices)  # too few have spoken, so all are invited again
    assert rig.told(RoundClosed)[1].accepted == 3


def test_a_device_that_was_throttled_may_still_answer(rig):
    device = rig.devices[0]
    for _ in range(SIZE + 1):
        rig.send(device, b"noise")
    rig.now_s += REPEAT_S
    rig.answer_all()
    assert rig.told(RoundClosed)[0].accepted == 3


def test_a_new_round_lets_one_update_of_a_flooding_device_in_and_no_more(rig):
    evil = rig.devices[0]
    rig.send(evil, evil.update())
    for _ in range(100):
        rig.send(evil, b"noise")
    answer(rig, *rig.devices[1:])
    assert evil.manifest.round == 2
    blob = evil.update()
    for _ in range(2):  # the second would have its receipt again
        rig.send(evil, blob)
        rig.work()
    assert rig.verdicts(evil) == [Verdict.ACCEPTED, Verdict.ACCEPTED]


def test_rounds_may_be_as_quick_as_they_like(make_rig):
    rig = make_rig(count=60)
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job(limit=100)
    assert all(notice.accepted == 3 and notice.dropped == 0 for notice in rig.told(RoundClosed))


def test_a_bucket_holds_two_updates_in_frames_and_is_refilled(rig):
    throttle = Throttle(rig.parts.fleet)
    topic = rig.devices[0].topics.up(rig.devices[0].id)
    throttle.open_round(5 * 120_000)
    assert [throttle.admits(topic, 0.0) for _ in range(19)] == [True] * 18 + [False]
    assert [throttle.admits(topic, 2.0) for _ in range(10)] == [True] * 9 + [False]


@pytest.mark.parametrize("max_payload", [1000, 2**14, MAX_FRAME, 2**28])
@pytest.mark.parametrize("is_link_first", [True, False])
def test_an_update_a_round_gets_through_however_small_the_brokers_packets_are(rig, max_payload, is_link_first):
    throttle = Throttle(rig.parts.fleet)
    topic, size = rig.devices[0].topics.up(rig.devices[0].id), 2 * MAX_FRAME
    frames = len(split(bytes(size), min(max_payload, MAX_FRAME)))
    if is_link_first:
        throttle.link_up(max_payload)
    throttle.open_round(size)
    throttle.link_up(max_payload)
    for _ in range(50):  # rounds that take no time at all
        assert all(throttle.admits(topic, 0.0) for _ in range(frames))
        throttle.open_round(size)
    assert sum(throttle.admits(topic, 0.0) for _ in range(10 * frames + 100)) <= 2 * frames + SPARE


def test_the_operator_hears_who_floods_and_seldom(rig):
    evil = rig.devices[0]
    for _ in range(4 * BLAME_FROM + SIZE):
        rig.send(evil, b"noise")
    assert len(rig.warnings) == 3
    assert all(f"'{evil.name}'" in each for each in rig.warnings)
    for _ in range(BLAME_FROM + PRESENCES):
        rig.receive(evil.topics.state(bytes(16)), b"noise")
    assert "no devices" in rig.warnings[-1]


def test_presence_is_throttled_alike_however_large_the_model_is(rig):
    throttle, device = Throttle(rig.parts.fleet), rig.devices[0]
    for _ in range(3):
        throttle.open_round(500 * MAX_FRAME)
    assert sum(throttle.admits(device.topics.state(device.id), 0.0) for _ in range(100)) == PRESENCES


def test_unknown_devices_share_a_bucket_and_cost_nobody_else(rig):
    throttle = Throttle(rig.parts.fleet)
    topics = rig.devices[0].topics
    strangers = [topics.up(bytes([n]) * 16) for n in range(100)] + [topics.up(b"").replace("/d//", "/d/xx/")]
    assert sum(throttle.admits(topic, 0.0) for topic in strangers) == SPARE
    assert throttle.admits(topics.up(rig.devices[0].id), 0.0)
    assert len(throttle._buckets) == 2


def test_a_flood_of_updates_leaves_presence_alone(rig):
    device = rig.devices[0]
    for _ in range(100):
        rig.send(device, b"noise")
    rig.leave(device)
    assert device.id not in rig.parts.fleet.ready


def test_a_late_update_is_believed_once_and_its_receipt_repeated_once_a_second(rig, checks):
    device = rig.devices[0]
    old = device.update()
    rig.answer_all()
    checks.clear()
    for _ in range(5):
        rig.send(device, old)
    assert len(checks) == 1
    assert rig.verdicts(device)[1:] == [Verdict.LATE] * 2
    rig.now_s += REPEAT_S
    rig.send(device, old)
    assert rig.verdicts(device)[1:] == [Verdict.LATE] * 3


def test_a_repeated_receipt_waits_its_time(rig):
    device = rig.devices[0]
    blob = device.update()
    rig.send(device, blob)
    rig.work()
    for _ in range(5):
        rig.send(device, blob)
    assert len(device.receipt_order) == 2


def test_a_rival_of_an_answer_that_is_not_durable_yet_gets_no_receipt(rig):
    device = rig.devices[0]
    first, second = device.update(), device.update()
    rig.send(device, first)
    rig.send(device, second)
    assert rig.verdicts(device) == []
    rig.crash()
    rig.boot()
    rig.send(device, second)
    rig.work()
    assert rig.verdicts(device) == [Verdict.ACCEPTED]


def test_the_operator_hears_of_ever_fewer_refusals(rig):
    device = rig.devices[0]
    for _ in range(9):
        rig.send(device, device.update(Update(5000, 1, 0.5, bytes(16), b"", "")))
    assert rig.verdicts(device) == [Verdict.REJECTED] * 9
    assert len(rig.told(UpdateSeen)) == 4


def test_the_inbox_is_bounded_where_the_broker_does_not_hold_back():
    service = SimpleNamespace(_inbox=deque(), _is_drain_due=True)
    for number in range(3 * MAX_UNACKNOWLEDGEABLE):
        Service._from_link(service, Received("t", b"", False, Token(1, 0)))
        if number % 100 == 0:
            Service._from_link(service, Received("t", b"", False, Token(1, 7)))
            Service._from_link(service, Received("t", b"", True, Token(1, 0)))
    acknowledgeable = [each for each in service._inbox if each.token.packet_id]
    assert len(acknowledgeable) == 8
    assert len([each for each in service._inbox if each.retained]) == 8
    assert len(service._inbox) <= MAX_UNACKNOWLEDGEABLE + 16


def test_questions_cost_nothing_beyond_those_that_are_answered(rig, monkeypatch):
    """Each answer takes as long as there are frames, which whoever asks may choose."""
    looked = []
    monkeypatch.setattr(Assembler, "missing", lambda *given: looked.append(given) or b"\xc0")
    device = rig.devices[0]
    for _ in range(5):
        rig.send(device, Transfer(bytes(16), 2, 1024).question())
    assert len(looked) == 1
    rig.now_s += REPEAT_S
    rig.send(device, Transfer(bytes(16), 2, 1024).question())
    assert len(looked) == 2
