"""What a worker makes of a task, and that the task is still the same afterwards."""

from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from federations import job, parts

from fedloom.data.prepare import Prepared
from fedloom.job import Job
from fedloom.learning.layout import Array
from simulation.cohort.crew import OneHand
from simulation.cohort.memory import ClientMemory
from simulation.cohort.preparing import context_of
from simulation.cohort.round import Asked, work
from simulation.cohort.task import Common, Context, Task
from simulation.cohort.worker import Worker
from simulation.population.files import of_parts

PERSONAL: list[dict[str, object]] = [{"method": "head"}, {"method": "ditto", "strength": 0.1}]
CLIENTS = 4


@dataclass
class Given:
    """A job's context, and all that its clients may bring to a round."""

    job: Job
    context: Context
    common: Common
    asked: Asked


def given(clients: list[Prepared] | None = None, **tables: object) -> Given:
    asked = job(**tables)
    rng, weights = np.random.default_rng(1), asked.model.layout().size
    memory = ClientMemory(asked, asked.training)
    ids = np.arange(CLIENTS)
    model = rng.normal(size=weights, scale=10.0).astype(np.float32)
    brought = memory.asked(ids, ids < 2, model, trains=True)
    if brought.residuals is not None:
        lost = 0.01 * rng.normal(size=(CLIENTS, asked.shared_layout.size))
        brought.residuals.kept.put(ids, lost.astype(np.float32))
    context = context_of(asked, of_parts(clients or parts(CLIENTS)), None)
    return Given(asked, context, Common(1, asked.training, True, model), brought)


@pytest.mark.parametrize("encoding", ["float32", "int8", "eden"])
@pytest.mark.parametrize("personal", PERSONAL, ids=lambda each: str(each["method"]))
def test_it_writes_on_nothing_that_it_is_given(personal: dict[str, object], encoding: str) -> None:
    what = given(personal=personal, update={"encoding": encoding})
    task = what.asked.task(0, 0, CLIENTS)
    arrays = [each for each in (*what.common, *task, *what.context) if isinstance(each, np.ndarray)]
    before = [each.copy() for each in arrays]
    for each in arrays:
        each.flags.writeable = False
    first, second = deltas_of(what, task), deltas_of(what, task)
    assert first.tobytes() == second.tobytes()
    assert first.any(axis=1).all()
    for each, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(each, copy)


def deltas_of(what: Given, task: Task) -> Array:
    deltas = np.empty((CLIENTS, what.job.shared_layout.size), np.float32)
    outcome = Worker(what.context).work(what.common, task, deltas)
    assert not outcome.declined
    return deltas


@pytest.mark.parametrize("personal", PERSONAL, ids=lambda each: str(each["method"]))
def test_an_own_model_goes_on_as_on_a_device(personal: dict[str, object]) -> None:
    """0 is well, 1's update cannot be encoded, 2's loss is not finite before it trains, and 3's training diverges."""
    clients = parts(CLIENTS)
    for number, scale in ((2, 2e37), (3, 1e18)):
        clients[number].train.x[:] *= np.float32(scale)
    what = given(clients, personal=personal, update={"encoding": "int8"})
    assert what.asked.residuals is not None
    what.asked.residuals.kept.put(np.array([1]), np.full((1, what.job.shared_layout.size), np.inf, np.float32))
    memory = ClientMemory(what.job, what.job.training)
    common = what.common._replace(plan=msgspec.structs.replace(what.job.training, measure_loss=True))
    with OneHand(what.context) as crew:
        done = work(crew, what.context, common, what.asked, tests=False)
    assert done.keeps.tolist() == [True, False, False, True]
    memory.settled(what.asked, done, done.is_able, common.plan)
    asked = memory.asked(np.arange(CLIENTS), np.ones(CLIENTS, np.bool_), common.weights + 1.0, trains=True)
    next_one = asked.task(0, 0, CLIENTS).own
    assert next_one is not None
    size = next_one.shape[1]
    is_new = (next_one == (common.weights + 1.0)[-size:]).all(axis=1)
    assert is_new.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(next_one[3], common.weights[-size:])
