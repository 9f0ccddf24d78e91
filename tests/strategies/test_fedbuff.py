"""Buffered asynchronous aggregation, by hand."""

import numpy as np
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create


def fuse(weights, given, **options):
    strategy = create(StrategyChoice("fedbuff", options), "job.toml", is_asynchronous=True)
    return strategy.fuse(
        np.array(weights, np.float32), UpdatesInMemory(given), strategy.initial_state(len(weights))
    ).weights


UPDATES = [
    ClientUpdate(b"a" * 16, 10, np.array([1.0, 0.0], np.float32), staleness=0),
    ClientUpdate(b"b" * 16, 30, np.array([-1.0, 4.0], np.float32), staleness=3),
]


def test_an_update_weighs_by_its_staleness_and_not_by_its_samples():
    # s(0) = 1, s(3) = 1/2: (1 − ½) / 2 = ¼; (0 + ½·4) / 2 = 1
    np.testing.assert_array_equal(fuse([1.0, 2.0], UPDATES), np.array([1.25, 3.0], np.float32))


def test_the_servers_learning_rate_scales_the_step():
    np.testing.assert_array_equal(fuse([1.0, 2.0], UPDATES, server_learning_rate=2.0), np.array([1.5, 4.0], np.float32))


def test_a_buffer_of_stale_updates_makes_a_smaller_step():
    stale = [update._replace(staleness=3) for update in UPDATES]
    fresh = [update._replace(staleness=0) for update in UPDATES]
    np.testing.assert_array_equal(2 * fuse([0.0, 0.0], stale), fuse([0.0, 0.0], fresh))


def test_one_client_may_be_in_it_twice_whatever_came_first():
    given = [UPDATES[0], UPDATES[0]._replace(staleness=3)]
    assert fuse([0.0, 0.0], given).tobytes() == fuse([0.0, 0.0], given[::-1]).tobytes()
    np.testing.assert_array_equal(fuse([0.0, 0.0], given), np.array([0.75, 0.0], np.float32))


def test_a_rule_that_knows_nothing_of_staleness_is_refused():
    with pytest.raises(ConfigError, match=r"strategy\.name: 'fedavg' .*stale.* set it to fedbuff"):
        create(StrategyChoice("fedavg"), "job.toml", is_asynchronous=True)
