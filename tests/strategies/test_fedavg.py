"""Federated averaging, by hand."""

import numpy as np
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create


def fuse(weights, given, **options):
    strategy = create(StrategyChoice("fedavg", options), "job.toml")
    return strategy.fuse(
        np.array(weights, np.float32), UpdatesInMemory(given), strategy.initial_state(len(weights))
    ).weights


UPDATES = [
    ClientUpdate(b"a" * 16, 10, np.array([1.0, 0.0], np.float32)),
    ClientUpdate(b"b" * 16, 30, np.array([-1.0, 4.0], np.float32)),
]


def test_the_mean_is_weighted_by_samples():
    # (10·1 + 30·(−1)) / 40 = −0.5; (10·0 + 30·4) / 40 = 3
    np.testing.assert_array_equal(fuse([1.0, 2.0], UPDATES), np.array([0.5, 5.0], np.float32))


def test_the_servers_learning_rate_scales_the_step():
    np.testing.assert_array_equal(
        fuse([1.0, 2.0], UPDATES, server_learning_rate=0.5), np.array([0.75, 3.5], np.float32)
    )


def test_sums_are_in_double_precision():
    given = [ClientUpdate(bytes([i]) * 16, 1, np.array([1e-4], np.float32)) for i in range(200)]
    exact = 1000.0 + float(np.float32(1e-4))
    assert fuse([1000.0], given)[0] == np.float32(exact)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_server_learning_rate_that_learns_nothing_is_refused(rate):
    with pytest.raises(ConfigError, match=r"strategy\.options\.server_learning_rate: .*: expected `float` > 0\.0"):
        create(StrategyChoice("fedavg", {"server_learning_rate": rate}), "job.toml")
