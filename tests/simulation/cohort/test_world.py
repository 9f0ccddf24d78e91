"""A federation on a virtual clock, asynchronous or not, and with clients that lie, beside plain loops."""

from functools import partial

import numpy as np
import pytest
from federations import WHERE, job, parts, population, run

from aggregator.notices import RoundClosed
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.trainer import Trainer
from fedloom.simulated_world import Attack
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation
from simulation.cohort.hands import Hands
from simulation.world.attackers import Attackers
from strategies import ClientUpdate, UpdatesInMemory, create_for

WHOLE = {"batch_size": 0}
"""Full batches: nothing depends on the order of samples."""
RAW = {"standardise": False}
SAMPLES = np.array([8, 9, 10, 11, 12, 13])
"""That each client trains on in an epoch; the model has 27 weights."""


def clocked(*, simulation=None, **tables):
    """A job whose clients train 27 weights × 2 samples a second."""
    devices = {"compute": {"weights_per_s": 54.0}, "sample_j": 0.5}
    given = {"simulation": {"devices": devices} | (simulation or {}), "training": WHOLE, "data": RAW}
    return job(**(given | tables))


def start(job: Job) -> Vector:
    return initial_weights(job.model, np.random.default_rng(job.seed))


def delta(job: Job, weights: Vector, data: Dataset) -> Vector:
    """Of one client's training."""
    return Trainer(job.model, job.training).fit(weights, data, np.random.default_rng(1)).weights - weights


def test_devices_that_take_no_time_and_are_always_there_change_nothing():
    tables = {"rounds": {"cohort": 0.5, "over_selection": 1.0}}
    plain, there = run(job(**tables)), run(job(simulation={"devices": {}}, **tables))
    assert plain.model.weights.tobytes() == there.model.weights.tobytes()
    assert plain.history.update_bytes == there.history.update_bytes
    assert plain.history.model_bytes == there.history.model_bytes
    assert (plain.history.simulated_s, there.history.simulated_s) == ([], [0.0] * 3)


def test_a_round_takes_its_slowest_client_and_what_all_have_spent():
    history = run(clocked()).history
    assert history.simulated_s == [13.0] * 3  # two epochs of 13 samples, two a second
    assert history.energy_j == [float(SAMPLES.sum())] * 3
    assert history.spent("simulated_s") == [0.0, 13.0, 26.0, 39.0]
    assert [each[-1].counted for each in history.attempts] == [6] * 3


def test_over_selected_clients_that_are_late_are_in_no_model():
    given = clocked(rounds={"cohort": 0.5, "over_selection": 2.0})
    federation = run(given)
    assert federation.history.updates == [3] * 3
    assert federation.history.simulated_s == [10.0] * 3
    weights = start(given)
    data = [each.train for each in parts()]
    for _ in range(3):
        updates = [ClientUpdate(bytes([n]), len(data[n].y), delta(given, weights, data[n])) for n in range(3)]
        strategy = create_for(given, "job.toml")
        weights, _ = strategy.fuse(weights, UpdatesInMemory(updates), strategy.initial_state(weights.size))
    np.testing.assert_allclose(federation.model.weights, weights, rtol=0, atol=1e-5)


BUFFERED = {"asynchronous": {"buffer": 2}, "strategy": {"name": "fedbuff"}, "rounds": {"count": 6, "devices": 2}}
WHO = [[(0, 1), (1, 1)], [(2, 1), (3, 1)], [(4, 1), (5, 1)], [(0, 2), (1, 2)], [(2, 2), (3, 2)], [(0, 4), (4, 3)]]
"""By round, (client, round of the model that it has trained from), as the next test derives it."""


def test_buffers_fuse_what_was_trained_from_older_models():
    """Clients need 8, 9, 10, 11, 12 and 13 s, and begin anew when the next buffer is opened.

    By hand: 0 and 1 fill the first by 9 s, and begin the second model; 2 and 3 the second by 11 s, from the first
    model, and begin the second one; 4 and 5 the third by 13 s, from the first model, and begin the third one; 0 and 1
    come at 17 and 18 s, 2 and 3 at 20 and 22 s; 4, with the third model, at 24 s, and 0 at 25 s with the fourth, which
    it has begun at 17 s.
    """
    given = clocked(**BUFFERED)
    federation = run(given)
    models, data = [start(given)], [each.train for each in parts()]
    for number, entrants in enumerate(WHO, 1):
        total = np.zeros_like(models[0])
        for client, base in entrants:
            total += delta(given, models[base - 1], data[client]) / np.sqrt(1.0 + number - base)
        models.append(models[-1] + total / 2)
    ends_s = np.cumsum(federation.history.simulated_s).tolist()
    assert ends_s == [9.0, 11.0, 13.0, 18.0, 22.0, 25.0]
    staleness = [each[-1].staleness for each in federation.history.attempts]
    assert staleness == [(2,), (0, 2), (0, 0, 2), (0, 0, 2), (0, 0, 0, 2), (0, 0, 1, 1)]
    np.testing.assert_allclose(federation.model.weights, models[-1], rtol=0, atol=1e-5)


def test_a_buffer_of_everybody_is_a_synchronous_round():
    tables = {"training": WHOLE, "strategy": {"name": "fedbuff"}}
    buffered = run(job(asynchronous={"buffer": 6}, **(tables | {"rounds": {"devices": 6}})))
    synchronous = run(job(**tables))
    np.testing.assert_allclose(buffered.model.weights, synchronous.model.weights, rtol=0, atol=1e-6)
    for mine, theirs in zip(buffered.history.metrics, synchronous.history.metrics, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("kind", ["free_rider", "label_flip"])
def test_liars_begin_with_the_model_of_the_round_that_is_said(kind):
    """What rounds 2 and 3 are made of was begun with the first model; it comes, but it is honest. All of them lie."""
    given = clocked(**BUFFERED, simulation={"attack": {"kind": kind, "share": 0.99, "start": 2}})
    models, data = [start(given)], [each.train for each in parts()]
    for number, entrants in enumerate(WHO, 1):
        total = np.zeros_like(models[0])
        for client, base in entrants:
            lies, mine = base >= 2, data[client]
            mine = Dataset(mine.x, 2 - mine.y) if lies and kind == "label_flip" else mine
            sent = 0.0 if lies and kind == "free_rider" else delta(given, models[base - 1], mine)
            total += sent / np.sqrt(1.0 + number - base)
        models.append(models[-1] + total / 2)
    np.testing.assert_allclose(run(given).model.weights, models[-1], rtol=0, atol=1e-5)


def test_stale_clients_with_error_feedback_and_a_test_set_run_to_the_end():
    given = clocked(**BUFFERED, update={"encoding": "sign"})
    history = run(given).history
    assert history.updates == [2] * 6
    assert history.rounds[-1] == 6


@pytest.mark.parametrize("kind", ["sign_flip", "label_flip", "replay"])
def test_what_liars_send_is_fused_in_the_place_of_what_they_have_trained(kind):
    given = job(training=WHOLE, data=RAW, simulation={"attack": {"kind": kind, "share": 0.34, "start": 2}})
    liars = np.flatnonzero(Attackers(Attack(kind, 0.34), 6, given.seed).among(np.arange(6), 1)).tolist()
    assert len(liars) == 2
    weights, moved = start(given), np.float32(0.0)
    for number in range(1, 4):
        updates = []
        for client, each in enumerate(parts()):
            lies = client in liars and number >= 2
            data = Dataset(each.train.x, 2 - each.train.y) if lies and kind == "label_flip" else each.train
            sent = delta(given, weights, data)
            sent = {"sign_flip": -sent, "replay": moved}.get(kind, sent) if lies else sent
            updates.append(ClientUpdate(bytes([client]), len(data.y), sent))
        strategy, before = create_for(given, "job.toml"), weights
        weights, _ = strategy.fuse(weights, UpdatesInMemory(updates), strategy.initial_state(weights.size))
        moved = weights - before
    np.testing.assert_allclose(run(given).model.weights, weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("devices", [{}, {"devices": {}}])
def test_updates_of_nan_are_in_no_model(devices):
    given = job(simulation={"attack": {"kind": "nan", "share": 0.34}} | devices)
    federation = Federation(given, WHERE, population(), OneHand)
    closed = [each for each in federation.run() if isinstance(each, RoundClosed) and each.phase == "train"]
    assert federation.history.updates == [4] * 3
    assert np.isfinite(federation.model.weights).all()
    if not devices:
        assert [each.rejected for each in closed] == [2] * 3
    else:
        assert [each[0].refused for each in federation.history.attempts] == [2] * 3


@pytest.mark.parametrize("kind", ["sign_flip", "noise", "inner_product", "replay"])
def test_lies_beyond_all_numbers_are_refused_like_anybody_s(kind):
    """And without a warning, which would be an error here."""
    given = job(simulation={"attack": {"kind": kind, "share": 0.34, "strength": 1e300, "start": 2}})
    assert run(given).history.updates == [6, 4, 4]


def test_a_rule_that_knows_who_is_slow_asks_the_fast():
    """`oort` explores at first; then it leaves those out that are much slower than the others."""
    options = {"penalty": 10.0, "preferred": 0.5, "exploration_decay": 0.8, "exploration_min": 0.0, "cut_off": 1.0}
    devices = {"compute": {"weights_per_s": 54.0, "sigma": 1.5}}
    rounds = {"count": 20, "cohort": 0.25, "over_selection": 1.0, "deadline_s": 86_400.0}
    tables = {"rounds": rounds, "simulation": {"devices": devices}}
    picky = run(clocked(cohort={"name": "oort", "options": options}, **tables), population(20)).history.simulated_s
    anybody = run(clocked(**tables), population(20)).history.simulated_s
    assert sum(picky[10:]) < 0.5 * sum(anybody[10:])


@pytest.mark.parametrize("kind", ["label_flip", "noise"])
def test_buffers_and_liars_are_the_same_with_workers(kind):
    devices = {"compute": {"weights_per_s": 54.0, "sigma": 1.0}}
    simulation = {"devices": devices, "attack": {"kind": kind}}
    tables = BUFFERED | {"asynchronous": {"buffer": 5}, "rounds": {"count": 6, "devices": 5}}
    given, people = clocked(simulation=simulation, update={"encoding": "int8"}, **tables), population(20)
    alone, two = run(given, people), run(given, people, partial(Hands, workers=2))
    assert alone.model.weights.tobytes() == two.model.weights.tobytes()
    assert alone.history.metrics == two.history.metrics
    assert alone.history.attempts == two.history.attempts


@pytest.mark.parametrize("strategy", ["fedbuff", "fedasync"])
@pytest.mark.parametrize("personal", [None, {"method": "head"}, {"method": "ditto", "strength": 0.1}])
def test_asynchronous_jobs_learn(strategy, personal):
    tables = {"asynchronous": {"buffer": 2}, "strategy": {"name": strategy}, "rounds": {"count": 60, "devices": 4}}
    if personal:
        tables["personal"] = personal
    history = run(clocked(**tables), population(12)).history
    prefix = "personal_" if personal == {"method": "head"} else ""
    losses = [each[f"{prefix}loss"] for each in history.metrics if f"{prefix}loss" in each]
    assert losses[-1] < 0.5 * losses[0]
