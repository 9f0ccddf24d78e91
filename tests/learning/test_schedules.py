"""Learning rates at known steps."""

import pytest

from fedloom.learning.plan import TrainPlan
from fedloom.learning.schedules import learning_rate


def rates(total, **settings):
    plan = TrainPlan(loss="mse", learning_rate=0.8, **settings)
    return [learning_rate(plan, step, total) for step in range(total)]


def test_constant():
    assert rates(3) == [0.8] * 3


def test_step_multiplies_every_so_many_steps():
    assert rates(5, schedule="step", step_every=2, step_factor=0.5) == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_cosine_falls_from_the_rate_towards_zero():
    assert rates(4, schedule="cosine") == pytest.approx([0.8, 0.682843, 0.4, 0.117157], rel=1e-5)
