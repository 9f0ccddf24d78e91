"""Numbers that belong to a client: the same whoever else is asked for, and distributed as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.world.draws import Draws, Stream

IDS = np.arange(200_000)


def test_a_clients_number_does_not_depend_on_who_else_is_asked_for():
    draws, few = Draws(7), np.array([3, 199_999, 12])
    every = draws.normal(Stream.SPEED_OF_ROUND, IDS, 5)
    assert (draws.normal(Stream.SPEED_OF_ROUND, few, 5) == every[few]).all()
    assert len(draws.uniform(Stream.SPEED, np.empty(0, np.intp))) == 0


def test_a_counter_of_each_client_is_that_counter():
    draws, counters = Draws(7), np.arange(100) % 3
    drawn = draws.uniform(Stream.DAY_JITTER, IDS[:100], counters)
    assert drawn[4] == draws.uniform(Stream.DAY_JITTER, np.array([4]), 1)[0]


@pytest.mark.parametrize(
    "other", [(Draws(8), Stream.SPEED, ()), (Draws(7), Stream.NETWORK, ()), (Draws(7), Stream.SPEED, (1,))]
)
def test_seeds_streams_and_counters_have_nothing_to_do_with_each_other(other):
    draws, stream, counters = other
    mine = Draws(7).uniform(Stream.SPEED, IDS)
    assert abs(np.corrcoef(mine, draws.uniform(stream, IDS, *counters))[0, 1]) < 0.01
    assert abs(np.corrcoef(mine[1:], mine[:-1])[0, 1]) < 0.01


def test_uniform_numbers_are():
    drawn = Draws(1).uniform(Stream.SPEED, IDS)
    assert 0.0 < drawn.min() < drawn.max() < 1.0
    counts = np.histogram(drawn, 100, (0.0, 1.0))[0]
    expected = len(IDS) / 100
    assert ((counts - expected) ** 2 / expected).sum() < 150  # χ² with 99 degrees of freedom: p = 0.0007


def test_log_normal_numbers_have_the_median_and_the_deviation_that_were_asked_for():
    drawn = Draws(2).log_normal(0.8, Stream.NETWORK, IDS)
    assert np.median(drawn) == pytest.approx(1.0, abs=0.01)
    assert np.log(drawn).std() == pytest.approx(0.8, abs=0.01)
    assert (np.log(drawn) ** 4).mean() / 0.8**4 == pytest.approx(3.0, abs=0.1)  # a normal distribution's tails
    assert (Draws(2).log_normal(0.0, Stream.NETWORK, IDS[:9]) == 1.0).all()


@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_places_are_an_order(count, seed):
    places = Draws(seed).place(Stream.ATTACKERS, np.arange(count), count)
    assert sorted(places) == list(range(count))


def test_places_of_a_few_of_ten_million_need_no_list_of_all():
    few = np.array([0, 9_999_999, 123_456])
    places = Draws(1).place(Stream.ATTACKERS, few, 10_000_000)
    assert ((places >= 0) & (places < 10_000_000)).all()
    assert len(set(places.tolist())) == 3


def test_the_first_places_are_anywhere():
    chosen = Draws(5).place(Stream.ATTACKERS, IDS, len(IDS)) < len(IDS) // 5
    assert chosen.sum() == len(IDS) // 5
    assert chosen[: len(IDS) // 2].mean() == pytest.approx(0.2, abs=0.005)
