"""Requests that cost cryptography are bounded; devices that join at once are not lost in the crowd."""

import os

from hypothesis import given
from hypothesis import strategies as st

from aggregator.join_throttle import OF_A_TOKEN, OF_ALL, OF_STRANGERS, JoinThrottle
from aggregator.notices import JoinRefused


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
        "aggregator.registrar.Registrar._open", lambda *arguments: opened.append(1) or original(*arguments)
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
