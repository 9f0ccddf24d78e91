"""Means and how sure they are."""

import math

import numpy as np
import pytest
import scipy.stats

from simulation.compare.statistics import Interval, interval


def test_the_interval_is_student_s():
    values = np.random.default_rng(1).normal(size=7)
    found = interval(values)
    low, high = scipy.stats.t.interval(0.95, 6, values.mean(), scipy.stats.sem(values))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_it_holds_the_mean_nineteen_times_of_twenty():
    rng = np.random.default_rng(2)
    found = [interval(rng.normal(size=3)) for _ in range(4000)]
    assert np.mean([abs(each.mean) <= each.half_width for each in found]) == pytest.approx(0.95, abs=0.012)


def test_one_value_says_nothing_of_others_and_none_says_nothing():
    assert interval([3.0, math.nan]) == Interval(3.0, None, 1)
    assert interval([math.inf]) is None
