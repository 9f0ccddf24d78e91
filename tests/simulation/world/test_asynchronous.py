"""Buffers on the virtual clock: worked out by hand, and what holds of any fleet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world_fleets import Timed, everybody, nobody, rounds, world

from fedloom.job.rounds import Asynchronous
from fedloom.simulated_world import Availability, Compute
from simulation.world.asynchronous import Buffers

NEVER = float("inf")


def buffers(fleet, buffer, refuse=nobody, max_staleness=20, **given):
    return Buffers(rounds(**given), Asynchronous(buffer, max_staleness), fleet, everybody(buffer), refuse)


def told(buffer):
    return buffer.ids.tolist(), buffer.bases.tolist(), buffer.attempts[-1].closed_s


def test_nobody_waits_for_the_slowest():
    """Devices need 2, 3 and 7 s. Each begins anew when its answer has come and a newer model is there.

    0 and 1 fill the buffer at 2 and 3 s; both begin again at 3 s, at 5 s the first is done, at 6 s the second; the
    third's, begun at 0 s with the first model, comes at 7 s, when 1 of the next buffer is on its way.
    """
    job = buffers(Timed([2.0, 3.0, 7.0]), 2)
    assert told(job.round(1)) == ([0, 1], [1, 1], 3.0)
    assert told(job.round(2)) == ([0, 1], [2, 2], 6.0)
    third = job.round(3)
    assert told(third) == ([0, 2], [3, 1], 8.0)
    assert third.attempts[-1].staleness == (1, 0, 1)
    assert told(job.round(4)) == ([0, 1], [4, 3], 10.0)


def test_what_comes_when_a_buffer_closes_is_in_the_next():
    job = buffers(Timed([1.0, 2.0]), 1, devices=1)
    assert told(job.round(1)) == ([0], [1], 1.0)
    assert told(job.round(2)) == ([0], [2], 2.0)  # the second device answers at the same time, and after it
    assert told(job.round(3)) == ([1], [1], 2.0)
    wide = buffers(Timed([4.0, 3.0, 1.0]), 2)
    assert told(wide.round(1)) == ([1, 2], [1, 1], 3.0)
    assert told(wide.round(2)) == ([0, 2], [1, 2], 4.0)
    assert told(wide.round(3)) == ([1, 2], [2, 3], 6.0)


def test_what_is_too_stale_is_ended_and_its_device_begins_anew():
    job = buffers(Timed([1.0, 5.5]), 1, max_staleness=2, devices=1)
    happened = [job.round(number) for number in range(1, 6)]
    assert [each.ids.tolist() for each in happened] == [[0]] * 5
    late = [each.attempts[-1].late for each in happened]
    assert late == [0, 0, 0, 1, 0]  # the fourth manifest ends what was begun for the first
    wasted = happened[3].attempts[-1].cost
    assert wasted.wasted_joules == pytest.approx(100.0 * 3.0 / 5.5)


def test_a_buffer_that_is_not_full_at_the_deadline_is_fused_if_it_has_the_fewest():
    job = buffers(Timed([10.0, 70.0, NEVER]), 2, min_updates=1)
    first, second = job.round(1), job.round(2)
    assert told(first) == ([0], [1], 60.0)
    assert told(second) == ([0, 1], [2, 1], 70.0)


def test_a_buffer_with_too_few_is_tried_again_and_its_updates_are_for_nothing():
    job = buffers(Timed([10.0, 70.0, 71.0]), 2, devices=3, min_updates=2)
    happened = job.round(1)
    failed, done = happened.attempts
    assert (failed.counted, failed.closed_s, failed.cost.wasted_joules) == (1, 60.0, 100.0)
    assert (done.closed_s, happened.ids.tolist()) == (70.0, [0, 1])
    assert done.staleness == (2,)  # an attempt is no newer model


def test_refused_updates_do_not_fill_a_buffer():
    job = buffers(Timed([1.0, 2.0, 3.0]), 2, refuse=lambda ids, number: ids == 0, devices=2)
    first = job.round(1)
    assert told(first) == ([1, 2], [1, 1], 3.0)
    assert first.attempts[0].refused == 1


def test_who_leaves_while_it_works_is_lost(tmp_path):
    (tmp_path / "t.csv").write_text("client,from_s,to_s\n0,0,999\n1,0,15\n2,0,999\n")
    times = Availability("trace", trace="t.csv")
    fleet = world(tmp_path, 3, availability=times, compute=Compute(weights_per_s=100.0))
    job = buffers(fleet, 3, min_updates=2)
    assert told(job.round(1)) == ([0, 1, 2], [1, 1, 1], 10.0)
    second = job.round(2)
    assert told(second) == ([0, 2], [2, 2], 70.0)  # two are enough at the deadline
    assert second.attempts[-1].lost == 1


FLEETS = st.lists(st.sampled_from([0.5, 1.0, 1.5, 4.0, 9.0, 33.0, NEVER]), min_size=2, max_size=8)


@settings(deadline=None)
@given(FLEETS, st.integers(1, 4), st.integers(1, 5))
def test_of_any_fleet(seconds, buffer, max_staleness):
    seconds = [1.0, *seconds]
    job = buffers(Timed(seconds), min(buffer, len(seconds)), max_staleness=max_staleness, devices=1)
    seen, clock_s = set(), 0.0
    for number in range(1, 12):
        happened = job.round(number)
        attempt = happened.attempts[-1]
        assert attempt.closed_s >= clock_s
        clock_s = attempt.closed_s
        updates = list(zip(happened.ids.tolist(), happened.bases.tolist(), strict=True))
        assert updates == sorted(updates)
        assert attempt.counted == len(updates) >= 1
        assert not seen & set(updates)  # no model is answered twice
        seen |= set(updates)
        staleness = number - happened.bases
        assert ((staleness >= 0) & (staleness <= max_staleness)).all()
        assert sum(attempt.staleness) == attempt.counted
        assert max(np.bincount(happened.ids)) <= 2
        for each in happened.attempts:
            assert each.cost.wasted_joules <= each.cost.joules + 1e-9


def test_work_that_is_ended_again_and_again_is_forgotten():
    job = buffers(Timed([1.0, *[1e9] * 9]), 1, max_staleness=1, devices=1)
    for number in range(1, 300):
        assert job.round(number).ids.tolist() == [0]
    assert len(job._flights._queue) < 100  # of the nine others each has begun 150 times
