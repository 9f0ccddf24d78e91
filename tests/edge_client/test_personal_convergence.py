"""Devices that name the same things differently: one model suits nobody, and each device's own suits it."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from personal_parts import METHODS, PLAN, SPEC, Device, make_work

from edge_client.events import Answer
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from fedloom.learning.personal import Personal, shared_layout
from fedloom.wire.messages import Phase
from strategies import ClientUpdate, UpdatesInMemory
from strategies.composed import Composed
from strategies.fedavg import Mean, Sgd

DEVICES, ROUNDS = 3, 15


def accuracies(answers: list[Answer]) -> list[float]:
    """Of the federation's model, then of the devices' own, over all hold-outs."""
    sums = sum(np.frombuffer(answer.update.metrics, "<f8").reshape(2, -1) for answer in answers)
    return [Metrics("cross_entropy", 3, own).summary()["accuracy"] for own in np.asarray(sums)]


def run(personal: Personal, root: Path) -> tuple[list[float], Vector, list[bytes]]:
    """A whole job: both accuracies at its end, the final model, and the devices' own."""
    root.mkdir()
    devices = [Device(number, root) for number in range(DEVICES)]
    rule = Composed(Mean(), Sgd())
    weights = initial_weights(SPEC, np.random.default_rng(0))
    shared = shared_layout(SPEC, personal).size
    state = rule.initial_state(shared)
    plan = msgspec.structs.replace(PLAN, local_epochs=4)
    for number in range(1, ROUNDS + 1):
        answers = [each.take_part(make_work(weights, personal, number=number, plan=plan)) for each in devices]
        updates = UpdatesInMemory(
            ClientUpdate(device.id, answer.update.samples, np.frombuffer(answer.update.vector, "<f4"))
            for device, answer in zip(devices, answers, strict=True)
        )
        weights = np.concatenate([rule.fuse(weights[:shared], updates, state).weights, weights[shared:]])
    last = make_work(weights, personal, Phase.EVALUATE, ROUNDS + 1, plan=plan)
    evaluated = accuracies([each.take_part(last) for each in devices])
    end = make_work(weights, personal, Phase.DONE, ROUNDS + 1, plan=plan)
    own = [each.answer(end).personal or b"" for each in devices]
    for each in devices:
        each.directory.release()
    return evaluated, weights, own


@pytest.mark.parametrize("method", METHODS)
def test_the_devices_own_models_are_clearly_better_than_one_for_all(method: str, tmp_path: Path) -> None:
    (common, own), weights, models = run(METHODS[method], tmp_path / "one")
    assert common < 0.6
    assert own > 0.95
    assert len(set(models)) == DEVICES
    again = run(METHODS[method], tmp_path / "two")
    assert again[0] == [common, own]
    assert np.array_equal(again[1], weights)
    assert again[2] == models
