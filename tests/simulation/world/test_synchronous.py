"""Synchronous rounds on the virtual clock, worked out by hand."""

import numpy as np
import pytest
from world_fleets import Timed, everybody, load, nobody, rounds, world

from fedloom.simulated_world import Availability, Battery, Compute
from simulation.world.door import Chosen, FruitlessError
from simulation.world.summary import Cost
from simulation.world.synchronous import Synchronous
from simulation.world.world import StandstillError

NEVER = float("inf")


def test_a_round_takes_as_long_as_its_slowest_device():
    fleet = Timed([3.0, 9.0, 6.0])
    job = Synchronous(rounds(), fleet, everybody(3), nobody)
    happened = [job.round(number) for number in (1, 2)]
    assert [each.ids.tolist() for each in happened] == [[0, 1, 2]] * 2
    assert [each.attempts[-1].closed_s for each in happened] == [9.0, 18.0]
    assert happened[0].attempts[-1].cost == Cost(3000.0, 1200.0, 300.0, 0.0, 0.0)


def test_over_selection_closes_with_the_target_and_the_late_work_is_wasted():
    fleet = Timed([3.0, 9.0, 6.0])
    happened = Synchronous(rounds(), fleet, everybody(2), nobody).round(1)
    assert happened.ids.tolist() == [0, 2]
    (attempt,) = happened.attempts
    assert (attempt.closed_s, attempt.invited, attempt.counted, attempt.late, attempt.lost) == (6.0, 3, 2, 1, 0)
    wasted_j = 100.0 * 6.0 / 9.0  # two thirds of its hundred samples, and the whole model on its way
    assert attempt.cost == Cost(3000.0, 800.0, pytest.approx(200.0 + wasted_j), 1000.0, pytest.approx(wasted_j))
    assert fleet.spent == pytest.approx([100.0, wasted_j, 100.0])


def test_a_silent_device_costs_the_deadline_and_sits_out_what_it_has_let_fail():
    fleet = Timed([3.0, NEVER, 6.0])
    happened = Synchronous(rounds(min_updates=2), fleet, lambda *given: everybody(len(given[0]))(*given), nobody).round(
        1
    )
    first, second = happened.attempts
    assert (first.seconds, first.invited, first.counted, first.lost) == (60.0, 3, 2, 1)
    assert (second.seconds, second.invited, second.closed_s) == (6.0, 2, 66.0)
    assert happened.ids.tolist() == [0, 2]
    assert first.cost.wasted_joules == first.cost.joules == 200.0


def test_updates_that_are_refused_are_not_waited_for():
    refuses = lambda ids, number: ids == 1  # noqa: E731
    happened = Synchronous(rounds(min_updates=2, devices=2), Timed([3.0, 4.0, 6.0]), everybody(3), refuses).round(1)
    assert happened.ids.tolist() == [0, 2]
    assert (happened.attempts[0].refused, happened.attempts[0].closed_s) == (1, 6.0)


def test_a_device_without_samples_declines(tmp_path):
    few = load()._replace(samples=lambda ids: np.where(ids == 2, 0, 100))
    fleet = world(tmp_path, 3, given=few, compute=Compute(weights_per_s=100.0))
    happened = Synchronous(rounds(), fleet, everybody(3), nobody).round(1)
    assert happened.ids.tolist() == [0, 1]
    assert happened.attempts[0].seconds == 10.0


def test_who_evaluates_is_told_of_those_whose_update_counts():
    chosen = Chosen(np.arange(3), np.array([True, False, True]), 2)
    happened = Synchronous(rounds(), Timed([3.0, 4.0, 9.0]), lambda *given: chosen, nobody).round(1)
    assert happened.evaluates.tolist() == [True, False]


def test_a_round_that_never_gets_enough_ends_the_simulation_with_what_helps():
    with pytest.raises(FruitlessError, match=r"1000 attempts in a row failed.*raise rounds.deadline_s"):
        Synchronous(rounds(devices=2, min_updates=2), Timed([3.0, 99.0]), everybody(2), nobody).round(1)


def test_the_job_waits_for_its_devices_and_goes_on_with_fewer(tmp_path):
    (tmp_path / "t.csv").write_text("client,from_s,to_s\n0,100,999\n1,40,130\n2,0,999\n")
    fleet = world(tmp_path, 3, availability=Availability("trace", trace="t.csv"), compute=Compute(weights_per_s=50.0))
    job = Synchronous(rounds(devices=3, min_updates=2), fleet, everybody(2), nobody)
    first, second = job.round(1), job.round(2)
    assert first.attempts[0].closed_s == 120.0  # all three are there from 100 s on, and need 20 s
    assert second.attempts[0].seconds == 20.0
    assert second.attempts[0].invited == 3
    assert second.ids.tolist() == [0, 2]  # device 1 leaves at 130 s
    assert second.attempts[0].lost == 1


def test_a_fleet_that_is_never_there_ends_the_simulation_with_what_helps(tmp_path):
    (tmp_path / "t.csv").write_text("client,from_s,to_s\n0,0,10\n1,20,30\n")
    fleet = world(tmp_path, 2, availability=Availability("trace", trace="t.csv"))
    with pytest.raises(StandstillError, match="never again 2 of 2 devices at once; lower rounds"):
        Synchronous(rounds(), fleet, everybody(2), nobody).round(1)


def test_a_device_with_an_empty_battery_takes_part_again_when_it_has_charged(tmp_path):
    battery = Battery(capacity_j=125.0, charge_w=0.01, charge_h=24.0)
    fleet = world(tmp_path, 2, battery=battery, compute=Compute(weights_per_s=1000.0), sample_j=1.0)
    job = Synchronous(rounds(), fleet, everybody(2), nobody)
    closed = [job.round(number).attempts[-1].closed_s for number in (1, 2)]
    assert closed[0] == 1.0
    assert closed[1] == pytest.approx(1.0 + 100.0 / 0.01 + 1.0)  # what the round has taken, at 10 mW
    assert fleet.ready(closed[1]).tolist() == []


def test_the_same_seed_is_the_same_fleet(tmp_path):
    def run(seed):
        devices = {"drops": 0.2, "availability": Availability("diurnal", share=0.6)}
        fleet = world(tmp_path, 50, seed, compute=Compute(50.0, sigma=0.7, jitter=0.2), **devices)
        job = Synchronous(rounds(quorum=0.5), fleet, everybody(30), nobody)
        return [job.round(number) for number in range(1, 6)]

    def told(happened):
        return [(each.ids.tolist(), each.attempts) for each in happened]

    assert told(run(1)) == told(run(1)) != told(run(2))


def test_who_comes_first_of_those_that_need_no_time_is_drawn_anew_each_round(tmp_path):
    job = Synchronous(rounds(), world(tmp_path, 100), everybody(50), nobody)
    firsts = [set(job.round(number).ids.tolist()) for number in range(1, 11)]
    assert [len(each) for each in firsts] == [50] * 10
    counts = np.bincount([client for each in firsts for client in each], minlength=100)
    assert counts.min() > 0
    assert counts.max() < 10
