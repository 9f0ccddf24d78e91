"""Requests that cost cryptography are bounded; devices that join at once are not lost in the crowd."""

import os

from hypothesis import given
from hypothesis import strategies as st

from aggregator import events as ev
from aggregator.broker.profile import FRAME_PACKET_BYTES
from aggregator.enrolment.registrar import MAX_TOPICS
from aggregator.enrolment.throttle import OF_A_TOKEN, OF_ALL, OF_MESSAGES, OF_STRANGERS, PAUSE_S, JoinThrottle
from aggregator.notices import JoinPaused, JoinRefused
from fedloom.link.base import Received, Token
from fedloom.wire.topics import Topics


def known(count):
    return frozenset(number.to_bytes(16, "big") for number in range(count))


def test_five_hundred_devices_get_through_at_once():
    throttle = JoinThrottle()
    throttle.learn(known(500))
    assert all(throttle.admits(token, 0.0) for token in sorted(known(500)))


def test_a_flood_with_unknown_tokens_leaves_room_for_known_ones():
    throttle = JoinThrottle()
    throttle.learn(known(10))
    flood = sum(throttle.admits(os.urandom(16), 0.001 * number) for number in range(10_000))
    assert flood <= OF_STRANGERS.burst + OF_STRANGERS.per_s * 10 + 1
    assert all(throttle.admits(token, 10.0) for token in known(10))


def test_a_flood_with_one_token_leaves_room_for_the_others():
    throttle = JoinThrottle()
    tokens = sorted(known(2))
    throttle.learn(known(2))
    flood = sum(throttle.admits(tokens[0], 0.001 * number) for number in range(10_000))
    assert flood <= OF_A_TOKEN.burst + OF_A_TOKEN.per_s * 10 + 1
    assert throttle.admits(tokens[1], 10.0)
    assert throttle.admits(tokens[0], 10.0 + 1 / OF_A_TOKEN.per_s)


def test_unknown_tokens_take_no_memory():
    throttle = JoinThrottle()
    for number in range(1000):
        throttle.admits(os.urandom(16), float(number))
    assert len(throttle._buckets) == 2


@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 0.01)), max_size=300))
def test_all_together_are_bounded(messages):
    throttle = JoinThrottle()
    throttle.learn(known(2000))
    now_s, admitted = 0.0, 0
    for token, gap_s in messages * 8:
        now_s += gap_s
        admitted += throttle.admits(token.to_bytes(16, "big"), now_s)
    assert admitted <= OF_ALL.burst + OF_ALL.per_s * now_s + 1


def test_what_is_thrown_away_was_not_opened_and_the_operator_is_not_flooded(desk, monkeypatch):
    opened = []
    original = type(desk.rig.parts.core._registrar)._open
    monkeypatch.setattr(
        "aggregator.enrolment.registrar.Registrar._open", lambda *arguments: opened.append(1) or original(*arguments)
    )
    stranger = desk.joiner(desk.joiner().token._replace(id=bytes(16)))
    for _ in range(500):
        desk.rig.receive(stranger.up, stranger.ask())
    assert len(opened) == OF_STRANGERS.burst
    for _ in range(1000):
        desk.rig.receive(stranger.up, b"garbage")
    assert len(desk.told(JoinRefused)) <= 11
    desk.settle()
    joiner = desk.joined()
    assert joiner.credential is not None


def test_a_token_made_a_moment_ago_is_good_before_the_store_was_looked_at(desk):
    joiner = desk.joiner(is_noticed=False)
    desk.send(joiner)
    assert joiner.credential is not None


class Ear:
    """The core with a clock of its own, and what it listens to."""

    def __init__(self, rig):
        self.core, self.utc_s, self.now_s = rig.parts.core, rig.utc_s, rig.now_s
        self.filters, self.told = [], []

    def hear(self, topic, payload=b"noise", times=1):
        received = Received(topic, payload, False, Token(1, 1))
        for _ in range(times):
            actions = self.handle(received)
            assert ev.Acknowledge(received) in actions
        return actions

    def handle(self, event):
        actions = self.core.handle(event, ev.Now(self.now_s, self.utc_s))
        self.filters += [each.filters for each in actions if isinstance(each, ev.Listen)]
        self.told += [each.notice for each in actions if isinstance(each, ev.Tell)]
        return actions


def test_in_a_flood_of_strangers_those_are_heard_who_have_a_token(desk):
    joiner, ear = desk.joiner(), Ear(desk.rig)
    stranger, burst = joiner.topics.enrol_up(bytes(16)), int(OF_MESSAGES.burst)
    ear.hear(stranger, times=burst)
    assert ear.filters == []
    ear.hear(stranger, times=burst + 10)  # what comes behind the first one was on its way
    assert ear.filters == [{joiner.up}]
    assert ear.told[-1] == JoinPaused(PAUSE_S, 1)
    desk.send(joiner)
    assert joiner.credential is not None

    ear.now_s += PAUSE_S - 1
    ear.handle(ev.Tick())
    assert len(ear.filters) == 1
    ear.now_s += 1
    ear.handle(ev.Tick())
    ear.handle(ev.Tick())
    assert ear.filters[1:] == [{joiner.topics.all_enrol_up}]


def test_in_a_flood_with_tokens_nobody_is_heard_for_a_while(desk):
    joiner, ear = desk.joiner(), Ear(desk.rig)
    ear.hear(joiner.up, times=int(OF_MESSAGES.burst) + 1)
    ear.hear(joiner.up, times=int(OF_MESSAGES.burst))
    assert ear.filters == [{joiner.up}]
    ear.hear(joiner.up)
    assert ear.filters == [{joiner.up}, frozenset()]
    assert len(ear.hear(joiner.up, joiner.request)) == 1
    ear.now_s += PAUSE_S
    ear.handle(ev.Tick())
    assert ear.filters[2:] == [{joiner.topics.all_enrol_up}]
    desk.send(joiner)
    assert joiner.credential is not None


def test_no_more_topics_are_named_than_fit_a_packet(desk, monkeypatch):
    joiner, ear = desk.joiner(), Ear(desk.rig)
    monkeypatch.setattr("aggregator.enrolment.registrar.MAX_TOPICS", 0)
    ear.hear(joiner.up, times=int(OF_MESSAGES.burst) + 1)
    assert ear.filters == [frozenset()]


def test_the_packet_that_names_all_topics_fits():
    topics = Topics(bytes(16))
    names = sum(3 + len(topics.enrol_up(number.to_bytes(16, "big"))) for number in range(MAX_TOPICS))
    assert names + 1000 <= FRAME_PACKET_BYTES
