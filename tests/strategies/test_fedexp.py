"""Extrapolation, by hand; and where each device knows a part of the answer."""

import numpy as np
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create


def test_updates_at_right_angles_are_extrapolated(fuse_rounds, update):
    # Δ̄ = (1, 1, 1, 1), ‖Δ̄‖² = 4, Σ‖Δ‖² = 4·16; η = 64 / (2·4·(4 + 1)) = 1.6
    given = [update(number, 4.0 * np.eye(4)[number], samples=number + 1) for number in range(4)]
    (found,) = fuse_rounds("fedexp", [given], epsilon=1.0)
    assert found == pytest.approx([1.6] * 4, rel=1e-6)


def test_where_all_agree_it_is_the_mean(fuse_rounds, update):
    # Σ‖Δ‖² / (2·M·‖Δ̄‖²) = ½, and η is 1 at least
    assert fuse_rounds("fedexp", [[update(number, [3.0, 4.0]) for number in range(3)]]) == [[3.0, 4.0]]


def test_epsilon_bounds_the_step_where_updates_cancel(fuse_rounds, update):
    given = [update(1, [1.0, 0.0]), update(2, [-1.0, 0.0])]
    assert fuse_rounds("fedexp", [given]) == [[0.0, 0.0]]


def test_devices_that_each_know_a_part_learn_faster(federation):
    devices = [(np.ones(8), np.eye(8)[number]) for number in range(8)]
    plain, fast = (federation(devices, 20, name, rate=1.0) for name in ("fedavg", "fedexp"))
    assert plain.max() < 0.95
    assert fast.min() > 0.99


def test_impossible_options_are_refused():
    with pytest.raises(ConfigError, match=r"strategy\.options\.epsilon: .*: expected `float` > 0"):
        create(StrategyChoice("fedexp", {"epsilon": 0.0}), "job.toml")
