"""The same models as flwr's strategies make of the same updates, round after round.

tests/flower compares more, with flwr itself, in an environment that has it. This is what holds our rules to it
everywhere else, as after `make test ARGS=…`: the file was made with flwr 1.41.0, which is not needed here. FedAdagrad
and FedYogi have τ = 10⁻⁹ there, so that it does not matter that flwr begins with v = 0 and not with τ²; its FedAdam
corrects a bias, which the paper's does not.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create

GIVEN = json.loads((Path(__file__).parent / "flwr_strategies.json").read_text())


@pytest.mark.parametrize("made", GIVEN["models"], ids=lambda made: f"{made['name']}-{len(made['options'])}")
def test_the_same_models(made):
    strategy = create(StrategyChoice(made["name"], made["options"]), "job.toml")
    weights = np.array(GIVEN["weights"], np.float32)
    state = strategy.initial_state(weights.size)
    for updates, expected in zip(GIVEN["rounds"], made["weights"], strict=True):
        sent = [
            ClientUpdate(bytes([i]) * 16, each["samples"], np.array(each["delta"], np.float32), loss=each["loss"])
            for i, each in enumerate(updates)
        ]
        weights, state = strategy.fuse(weights, UpdatesInMemory(sent), state)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-6)
