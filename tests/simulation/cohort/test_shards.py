"""What is kept of pools in another form."""

import numpy as np

from simulation.cohort.shards import Converted, Shards


def shards(rows: int) -> Shards:
    return Shards(np.ones((rows, 2)), np.ones((rows, 1)), np.arange(rows), np.array([0, rows]))


def test_copies_that_come_and_go_leave_the_pool_as_it_is() -> None:
    made: list[int] = []
    converted = Converted(lambda each: made.append(len(each.x)) or len(made))
    pool = shards(9)
    assert converted.of(pool) == 1
    for number in (2, 3):
        copy = shards(4)
        assert converted.of(copy) == converted.of(copy._replace(rows=copy.rows[:2])) == number
        assert converted.of(pool) == 1
    assert made == [9, 4, 4]


def test_other_values_or_targets_are_another_pool() -> None:
    converted = Converted(lambda each: (each.x, each.targets))
    pool = shards(3)
    for other in (pool, pool._replace(x=pool.x.copy()), pool._replace(targets=pool.targets.copy())):
        x, targets = converted.of(other)
        assert x is other.x
        assert targets is other.targets
