"""What liars send travels as everybody's updates do, and what they keep is what a hostile daemon would."""

from functools import partial

import msgspec
import numpy as np
import pytest
from devices import Devices
from federations import job, parts, population, run

from fedloom.compression import Encoding
from fedloom.data.prepare import Prepared
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.wire.encoding import decode, encode
from simulation.cohort.crew import OneHand
from simulation.cohort.hands import Hands
from simulation.cohort.task import Common, Context, Task
from simulation.cohort.worker import Worker
from simulation.world.attackers import attackers_of
from strategies.base import Matrix

WHOLE = {"batch_size": 0}
"""Full batches: nothing depends on the order of samples."""


def attacked(kind: str, encoding: Encoding = "float32", strength: float = 2.0, **tables: object) -> Job:
    update: dict[str, object] = {"encoding": encoding, "max_norm": 1e4} | ({"share": 0.3} if encoding == "topk" else {})
    simulation = {"attack": {"kind": kind, "share": 0.34, "start": 2, "strength": strength}}
    return job(**{"training": WHOLE, "update": update, "simulation": simulation} | tables)


def liars_of(job: Job) -> list[int]:
    return np.flatnonzero(attackers_of(job.simulation, 6, job.seed).among(np.arange(6), 10)).tolist()


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "feddyn"])
@pytest.mark.parametrize("encoding", ["float32", "int8", "topk"])
def test_it_is_what_hostile_daemons_do_to_a_fleet(strategy: str, encoding: Encoding) -> None:
    given = attacked("sign_flip", encoding, strategy={"name": strategy}, rounds={"count": 6})
    devices = Devices(given, parts(), liars_of(given))
    assert len(devices.liars) == 2
    federation = run(given)
    expected = devices.run()
    np.testing.assert_allclose(federation.model.weights, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("personal", [{}, {"personal": {"method": "head"}}], ids=["common", "head"])
def test_wrong_labels_are_in_all_that_a_device_makes_of_its_samples(personal: dict[str, object]) -> None:
    """`qfedavg` weighs updates by the losses that devices have before they train."""
    rule = {"name": "qfedavg", "options": {"client_learning_rate": 0.2, "q": 2.0}}
    given = attacked("label_flip", strategy=rule, **personal)
    given = msgspec.structs.replace(given, simulation=job(simulation={"attack": {"kind": "label_flip"}}).simulation)
    liars, clients = liars_of(given), parts()
    for liar in liars:
        held, train = clients[liar].holdout, clients[liar].train
        clients[liar] = Prepared(Dataset(train.x, 2 - train.y), held)
    assert liars
    np.testing.assert_allclose(run(given).model.weights, Devices(given, clients).run(), rtol=0, atol=1e-5)


class Listening(OneHand):
    """Keeps the matrix in which the round's updates are."""

    deltas: Matrix

    def matrix(self, rows: int, columns: int) -> Matrix:
        self.deltas = super().matrix(rows, columns) if rows else self.deltas
        return self.deltas if rows else super().matrix(rows, columns)


@pytest.mark.parametrize("kind", ["sign_flip", "noise", "alie", "inner_product", "replay", "free_rider"])
def test_what_arrives_can_be_sent(kind: str) -> None:
    """Of a tenth of the weights, one magnitude: what was forged has as many as the model."""
    crews: list[Listening] = []

    def make(context: Context) -> Listening:
        crews.append(Listening(context))
        return crews[0]

    given = attacked(kind, "topk", rounds={"count": 2, "evaluate": 0.0})
    run(given, make_crew=make)
    for client in liars_of(given):
        arrived = crews[0].deltas[client]
        again = np.empty_like(arrived)
        decode(encode(arrived, "topk", given.update.options), "topk", again)
        np.testing.assert_array_equal(arrived, again)


def test_what_a_liar_has_trained_stays_in_its_chunk_as_it_is() -> None:
    given = attacked("sign_flip", "sign")
    contexts: list[Context] = []

    def make(context: Context) -> OneHand:
        contexts.append(context)
        return OneHand(context)

    federation = run(given, make_crew=make)
    common, task = Common(2, given.training, True, federation.model.weights), Task(0, 0, np.arange(6), np.ones(6, bool))
    deltas = np.zeros((6, 27), np.float32)
    Worker(contexts[0]).work(common, task, deltas)
    magnitudes = [len(np.unique(np.abs(row))) for row in deltas]
    assert [client for client, count in enumerate(magnitudes) if count > 1] == liars_of(given)


def test_what_liars_send_beside_it_goes_with_it_and_is_bounded() -> None:
    """Only their second vectors are beyond the bound: 200 times as long as the honest ones."""
    given = attacked("sign_flip", strength=200.0, strategy={"name": "scaffold"}, update={"max_control_norm": 20.0})
    assert run(given).history.updates == [6, 4, 4]


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8", "sign", "eden", "topk"])
@pytest.mark.parametrize(("kind", "strength"), [("nan", 1.0), ("sign_flip", 1e38)])
def test_what_cannot_be_encoded_is_refused(kind: str, strength: float, encoding: Encoding) -> None:
    federation = run(attacked(kind, encoding, strength=strength, strategy={"name": "scaffold"}))
    assert federation.history.updates == [6, 4, 4]
    assert np.isfinite(federation.model.weights).all()


@pytest.mark.parametrize("strategy", ["scaffold", "feddyn"])
@pytest.mark.parametrize("kind", ["sign_flip", "noise"])
def test_liars_are_the_same_with_workers(strategy: str, kind: str) -> None:
    given = attacked(kind, "int8", strategy={"name": strategy}, rounds={"count": 3, "cohort": 0.5})
    alone, two = run(given, population(20)), run(given, population(20), partial(Hands, workers=2))
    assert alone.model.weights.tobytes() == two.model.weights.tobytes()
    assert alone.history.metrics == two.history.metrics
