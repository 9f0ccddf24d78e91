"""Batteries go down with what is spent, and up in the devices' own charging hours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.simulated_world import DAY_S, Battery
from simulation.world.battery import Batteries
from simulation.world.draws import Draws, Stream

IDS = np.array([4, 9, 11])
HOUR_S = 3600.0


def batteries(**battery):
    return Batteries(Battery(**({"capacity_j": 1000.0, "charge_w": 0.01, "charge_h": 2.0} | battery)), Draws(1))


def hour_s(ids=IDS):
    return Draws(1).uniform(Stream.CHARGE_START, ids) * DAY_S


def test_they_are_full_at_first_and_as_large_as_they_are_told():
    many = np.arange(20_000)
    capacities = batteries(sigma=0.4).capacities(many)
    assert np.median(capacities) == pytest.approx(1000.0, rel=0.02)
    assert np.log(capacities).std() == pytest.approx(0.4, rel=0.02)
    assert (batteries(sigma=0.4).levels(many, 5.0) == capacities).all()


def test_a_day_charges_for_its_hours_and_a_full_battery_takes_no_more():
    cells = batteries()
    cells.spend(IDS, np.array([300.0, 50.0, 0.0]), 0.0)
    assert cells.levels(IDS, 0.0) == pytest.approx([700.0, 950.0, 1000.0])
    assert cells.levels(IDS, DAY_S) == pytest.approx([700.0 + 72.0, 1000.0, 1000.0])  # 2 h at 10 mW
    assert cells.levels(IDS, 3 * DAY_S) == pytest.approx([700.0 + 216.0, 1000.0, 1000.0])
    begins_s = float(hour_s()[0])
    cells.spend(IDS[:1], np.array([100.0]), begins_s)
    before, after = cells.levels(IDS[:1], begins_s)[0], cells.levels(IDS[:1], begins_s + HOUR_S)[0]
    assert after - before == pytest.approx(36.0)
    assert cells.levels(IDS[:1], begins_s + 5 * HOUR_S)[0] - before == pytest.approx(72.0)


def test_what_others_spend_changes_nothing_and_nobody_spends_more_than_there_is():
    cells = batteries()
    cells.spend(IDS[1:2], np.array([5000.0]), 0.0)
    cells.spend(IDS[:1], np.array([1.0]), 0.0)
    assert cells.levels(IDS, 0.0).tolist() == [999.0, 0.0, 1000.0]


def test_the_reserve_is_not_for_training():
    cells = batteries(reserve=0.25)
    wanted = np.array([750.0, 751.0, 10.0])
    assert cells.suffice(IDS, wanted, 0.0).tolist() == [True, False, True]
    assert cells.suffice_from(IDS, wanted, 0.0).tolist() == [0.0, np.inf, 0.0]  # it would never be enough
    assert batteries(charge_w=0.0).suffice_from(IDS, wanted, 7.0).tolist() == [7.0, 7.0, 7.0]


@given(st.floats(0.0, 799.0), st.floats(0.0, 799.0), st.floats(0.0, 5 * DAY_S))
def test_it_suffices_from_the_moment_that_is_said_and_not_before(spent, wanted, time_s):
    cells = batteries()
    cells.spend(IDS, np.full(3, spent), time_s)
    joules = np.full(3, wanted)
    from_s = cells.suffice_from(IDS, joules, time_s)
    assert (from_s >= time_s).all()
    for place in range(3):
        one, moment_s = IDS[place : place + 1], float(from_s[place])
        assert cells.suffice_from(one, joules[:1], moment_s)[0] <= moment_s + 1e-3
        if moment_s > time_s + 60.0:
            assert not cells.suffice(one, joules[:1], moment_s - 30.0)[0]
            assert cells.levels(one, moment_s)[0] - 200.0 == pytest.approx(wanted, abs=1e-3)


def test_batteries_that_do_not_charge_are_never_enough_again():
    cells = batteries(charge_w=0.0)
    cells.spend(IDS, np.full(3, 900.0), 0.0)
    assert cells.suffice_from(IDS, np.full(3, 10.0), 5.0).tolist() == [np.inf] * 3
