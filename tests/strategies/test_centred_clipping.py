"""Centred clipping, by hand, and what it remembers."""

import numpy as np
import pytest
from directions import direction, updates

from fedloom import msgpack
from fedloom.job.choices import StrategyChoice
from strategies import create


def strategy(server="", **options):
    return create(StrategyChoice("centred_clipping", options, server), "job.toml")


def fuse(rule, deltas, state=None):
    size = np.shape(deltas)[1]
    return rule.fuse(np.zeros(size, np.float32), updates(deltas), state or rule.initial_state(size))


def test_what_is_farther_than_the_radius_counts_as_if_it_were_not():
    # from 0: (2 + 1 + 2) / 3, as 90 is 2 at most
    assert direction("centred_clipping", [[2], [1], [90]], radius=2.0, iterations=1)[0] == pytest.approx(5 / 3)


def test_it_begins_where_the_round_before_went():
    rule = strategy(radius=1.0, iterations=1)
    first = fuse(rule, [[3], [3]])
    assert first.weights[0] == 1
    second = fuse(rule, [[3], [3]], first.state)
    assert second.weights[0] == pytest.approx(2)  # from 1 again one radius
    third = fuse(rule, [[3], [-9]], second.state)
    assert third.weights[0] == pytest.approx(2)  # (+1 − 1) / 2


def test_iterations_go_on_from_each_other():
    assert direction("centred_clipping", [[3], [3]], radius=1.0, iterations=2)[0] == 2


def test_the_radius_is_the_median_distance_where_none_is_set():
    # distances 1 2 90: (1 + 2 + 2) / 3
    assert direction("centred_clipping", [[1], [2], [90]], iterations=1)[0] == pytest.approx(5 / 3)


def test_an_attacker_of_any_length_moves_it_by_its_share_of_the_radius():
    near, far = (direction("centred_clipping", [[1], [1], [x]], radius=3.0, iterations=1) for x in (1e3, 1e30))
    np.testing.assert_allclose(near, far)


def test_what_it_remembers_survives_a_restart():
    rule = strategy()
    rows = [[1, 2], [3, 4], [5, 60]]
    state = fuse(rule, rows).state
    again = msgpack.decode(msgpack.encode(state), type(rule.initial_state(2)))
    assert again == state
    assert fuse(rule, rows, again).weights.tobytes() == fuse(rule, rows, state).weights.tobytes()
    assert fuse(rule, rows, state).weights.tobytes() != fuse(rule, rows).weights.tobytes()


def test_the_server_takes_its_step_along_what_is_remembered_whole():
    rule = strategy("sgd", server_learning_rate=0.5, radius=1.0, iterations=1)
    first = fuse(rule, [[3], [3]])
    assert first.weights[0] == 0.5
    assert fuse(rule, [[3], [3]], first.state).weights[0] == 1.0
