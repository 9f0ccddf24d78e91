"""All that a strategy promises, and what this one is for."""

import numpy as np
import pytest
from tempered_mean import TemperedMean

from strategies import ClientUpdate, UpdatesInMemory
from strategies.composed import Composed
from strategies.fedavg import Sgd
from strategies.testing import check_strategy


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_it_keeps_every_promise(power: float) -> None:
    check_strategy(Composed(TemperedMean(power), Sgd()))


def test_samples_weigh_by_their_root() -> None:
    # √1 : √9 = 1 : 3; (1·8 + 3·0) / 4 = 2
    updates = [
        ClientUpdate(bytes(16), 1, np.array([8.0], np.float32)),
        ClientUpdate(bytes(15) + b"\x01", 9, np.array([0.0], np.float32)),
    ]
    assert TemperedMean().combine(UpdatesInMemory(updates), 1).tolist() == [2.0]
