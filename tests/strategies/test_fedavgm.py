"""Server momentum, by hand; and where gradients differ in scale."""

import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create


def test_velocity_adds_up(fuse_rounds, update):
    # v = 1, then 1/2 + 1 = 3/2, then 3/4 + 0
    rounds = [[update(1, [1.0])], [update(1, [1.0])], [update(1, [0.0])]]
    assert fuse_rounds("fedavgm", rounds, server_momentum=0.5) == [[1.0], [2.5], [3.25]]
    halved = fuse_rounds("fedavgm", rounds, server_momentum=0.5, server_learning_rate=0.5)
    assert halved == [[0.5], [1.25], [1.625]]


def test_without_momentum_it_is_fedavg(fuse_rounds, update):
    rounds = [[update(1, [1.0, 0.0], 10), update(2, [-1.0, 4.0], 30)]] * 2
    assert fuse_rounds("fedavgm", rounds, server_momentum=0.0) == fuse_rounds("fedavg", rounds)


def test_a_flat_direction_is_followed_ten_times_as_fast(federation):
    devices = [((1.0, 1.0), (1.0, 0.01)), ((1.0, 1.0), (1.0, 0.01))]
    plain, fast = (federation(devices, 100, name, rate=0.5)[1] for name in ("fedavg", "fedavgm"))
    assert plain < 0.45
    assert fast > 0.95


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_a_momentum_that_never_fades_is_refused(momentum):
    with pytest.raises(ConfigError, match=r"strategy\.options\.server_momentum: .*: expected `float`"):
        create(StrategyChoice("fedavgm", {"server_momentum": momentum}), "job.toml")
