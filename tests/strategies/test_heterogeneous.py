"""On devices whose data disagree, and that take many local steps: who arrives at the optimum of all.

Device k's loss is ½·mean(x·w − y)², with inputs of another scale and targets of another slope on each: the devices'
optima differ, and so do their curvatures, which is what makes FedAvg arrive elsewhere. The federation's optimum is that
of the devices' mean loss, which has a closed form.
"""

from typing import NamedTuple

import numpy as np
import pytest

from edge_client.variate import Variate
from fedloom.job.choices import StrategyChoice
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import decode, encode
from fedloom.wire.messages import Update
from strategies import ClientUpdate, UpdatesInMemory, create
from strategies.variates import sum_of

SPEC = ModelSpec(inputs=2, outputs=1)
SIZE = SPEC.layout().size
PLAN = TrainPlan(loss="mse", learning_rate=0.05, batch_size=0, local_epochs=20)
DEVICES, ROUNDS = 4, 60


class Device(NamedTuple):
    id: bytes
    data: Dataset


class Fleet:
    """Devices as `edge_client.training` makes them, without files and messages."""

    def __init__(self, encoding="float32"):
        rng = np.random.default_rng(0)
        self.encoding = encoding
        self.devices = []
        for number in range(DEVICES):
            x = rng.normal(size=(40, 2))
            x *= (0.4 + 0.5 * number, 1.6 - 0.4 * number)
            y = x @ [2.0 * number - 3.0, 1.0 - number] + number
            data = Dataset(x.astype(np.float32), y.astype(np.float32)[:, None])
            self.devices.append(Device(bytes([number]) * 16, data))
        self.own = dict[bytes, Vector | None]()

    def optimum(self) -> Vector:
        """Of the mean of all devices' losses: least squares of all, each device's samples weighing the same."""
        ones = [np.column_stack([each.data.x, np.ones(40)]) for each in self.devices]
        return np.linalg.lstsq(np.concatenate(ones), np.concatenate([each.data.y for each in self.devices]))[0][:, 0]

    def answer(self, device, weights, plan, common) -> ClientUpdate:
        variate = Variate(plan, self.own.get(device.id), common, SIZE)
        fit = Trainer(SPEC, plan).fit(weights, device.data, np.random.default_rng(0), linear=variate.term)
        delta = fit.weights - weights
        change = variate.change(delta, fit.rate_sum)
        control = b"" if change is None else encode(change, self.encoding)
        update = Update(40, fit.steps, 0.0, encode(delta, self.encoding), b"", "", None, control)
        kept = variate.advanced(update, self.encoding)
        self.own[device.id] = None if kept is None else np.frombuffer(kept, "<f4")
        sent = [np.zeros(SIZE, np.float32) for _ in range(2)]
        decode(update.vector, self.encoding, sent[0])
        if update.control:
            decode(update.control, self.encoding, sent[1])
        return ClientUpdate(device.id, 40, sent[0], control=sent[1] if update.control else None)

    def run(self, name, rounds=ROUNDS, cohort=DEVICES, **options) -> Vector:
        """The weights after so many rounds with a cohort drawn for each."""
        rule = create(StrategyChoice(name, options), "job.toml")
        weights, state, rng = np.zeros(SIZE, np.float32), rule.initial_state(SIZE), np.random.default_rng(1)
        for number in range(rounds):
            plan, common = rule.plan(number, PLAN, state), rule.broadcast(state)
            drawn = rng.choice(DEVICES, cohort, replace=False)
            answers = [self.answer(self.devices[each], weights, plan, common) for each in drawn]
            weights, state = rule.fuse(weights, UpdatesInMemory(answers), state)
        self.state = state
        return weights


def distance(name, encoding="float32", **options):
    fleet = Fleet(encoding)
    return np.linalg.norm(fleet.run(name, **options) - fleet.optimum())


@pytest.mark.parametrize(("name", "options"), [("scaffold", {}), ("feddyn", {"alpha": 0.3})])
def test_corrected_devices_arrive_at_the_optimum_of_all_where_fedavg_does_not(name, options):
    assert distance("fedavg") > 0.3
    assert distance(name, **options) < 0.01


@pytest.mark.parametrize(("name", "options"), [("scaffold", {}), ("feddyn", {"alpha": 0.3})])
def test_so_they_do_when_half_of_them_take_part_in_a_round(name, options):
    assert distance("fedavg", cohort=2, rounds=150) > 0.3
    assert distance(name, cohort=2, rounds=150, devices=DEVICES, **options) < 0.03


@pytest.mark.parametrize("encoding", ["float16", "int8"])
@pytest.mark.parametrize(("name", "options"), [("scaffold", {}), ("feddyn", {"alpha": 0.3})])
def test_so_they_do_with_coarse_encodings(name, options, encoding):
    assert distance(name, encoding, **options) < 0.01


@pytest.mark.parametrize("encoding", ["float32", "int8"])
@pytest.mark.parametrize("name", ["scaffold", "feddyn"])
def test_the_server_holds_the_sum_of_what_the_devices_keep(name, encoding):
    fleet = Fleet(encoding)
    fleet.run(name, rounds=20, cohort=3)
    kept = sum(each for each in fleet.own.values() if each is not None)
    np.testing.assert_allclose(sum_of(fleet.state), kept, atol=1e-4)


def test_a_proximal_term_limits_how_far_the_devices_go():
    def drift(name, **options):
        fleet = Fleet()
        rule = create(StrategyChoice(name, options), "job.toml")
        plan = rule.plan(1, PLAN, rule.initial_state(SIZE))
        start = np.zeros(SIZE, np.float32)
        return [np.linalg.norm(fleet.answer(each, start, plan, None).delta) for each in fleet.devices]

    free, little, much = drift("fedavg"), drift("fedprox", mu=0.1), drift("fedprox", mu=5.0)
    assert all(a > b > 1.5 * c for a, b, c in zip(free, little, much, strict=True))
