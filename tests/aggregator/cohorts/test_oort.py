"""Utility by hand, and how much a cohort explores."""

import numpy as np
import pytest

from aggregator.cohorts.oort import Oort
from aggregator.records import Standing

EXPLOIT = Oort(exploration=0.0, exploration_min=0.0)


def drawn(pick, rule, ready, count, round_number=1):
    return [set(pick(rule, ready, count, round_number, seed)) for seed in range(30)]


def test_utility_is_samples_times_loss(pick, known):
    """10·1, 40·1, 10·3, 10·2, 40·0.01 and 1·3: 1, 2, 3 are the highest, and the first of them counts as the second."""
    figures = ((10, 1.0), (40, 1.0), (10, 3.0), (10, 2.0), (40, 0.01), (1, 3.0))
    ready = [known(number, samples=samples, loss=loss) for number, (samples, loss) in enumerate(figures)]
    assert all(each == {1, 2} for each in drawn(pick, EXPLOIT, ready, 2))
    assert all(each == {1, 2, 3} for each in drawn(pick, EXPLOIT, ready, 3))


def test_a_slow_device_is_worth_less(pick, known):
    """Utilities 1/4, 1/2, 1 and 1; T is 1 s, so that the last one's is (1/4)² = 1/16."""
    figures = ((1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (4.0, 4.0))
    ready = [known(number, loss=loss, seconds=seconds) for number, (loss, seconds) in enumerate(figures)]
    rule = Oort(exploration=0.0, exploration_min=0.0, preferred=0.75)
    assert all(each == {0, 1, 2} for each in drawn(pick, rule, ready, 3))
    patient = Oort(exploration=0.0, exploration_min=0.0, preferred=0.75, penalty=0.0)
    assert all(each == {2, 3} for each in drawn(pick, patient, ready, 2))


def test_a_device_whose_speed_is_not_known_is_not_put_back(pick, known):
    ready = [known(0, seconds=1.0), known(1, seconds=1.0), known(2, seconds=9.0), known(3, seconds=None)]
    rule = Oort(exploration=0.0, exploration_min=0.0, preferred=0.5)
    assert all(each == {0, 1, 3} for each in drawn(pick, rule, ready, 3))


def test_what_was_long_ago_is_worth_another_look(pick, known):
    """In round 100: 0.5 + √(0.1 · ln 100 / 1) = 1.18 for what was last heard in round 1, and for the others
    1 + √(0.1 · ln 100 / 100) = 1.07; in round 1 those win."""
    old = known(0, loss=0.5)
    assert all(
        each == {0} for each in drawn(pick, EXPLOIT, [old, known(1, answered=100), known(2, answered=100)], 1, 100)
    )
    assert all(each == {1, 2} for each in drawn(pick, EXPLOIT, [old, known(1), known(2)], 2))


@pytest.mark.parametrize(("round_number", "explored"), [(1, 9.0), (2, 8.82), (35, 10 * 0.9 * 0.98**34), (1000, 2.0)])
def test_exploration_decays_to_its_minimum(pick, known, round_number, explored):
    ready = [known(number) for number in range(20)] + [Standing(bytes([number])) for number in range(20, 40)]
    counts = [sum(each >= 20 for each in pick(Oort(), ready, 10, round_number, seed)) for seed in range(300)]
    assert set(counts) <= {int(explored), int(explored) + 1}
    assert np.mean(counts) == pytest.approx(explored, abs=0.1)


def test_those_that_were_never_asked_are_explored_before_those_that_never_answered(pick, known):
    silent, fresh = Standing(b"\7", asked=3), Standing(b"\x08")
    rule = Oort(exploration_min=1.0)
    assert all(each == {8} for each in drawn(pick, rule, [known(0), silent, fresh], 1))
    assert all(each == {7} for each in drawn(pick, rule, [known(0), silent], 1))


def test_where_nobody_is_known_all_explore(pick):
    ready = [Standing(bytes([number])) for number in range(5)]
    assert all(len(each) == 3 for each in drawn(pick, EXPLOIT, ready, 3))
