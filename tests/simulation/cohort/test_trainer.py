"""The cohort's trainer against a device's, client by client, in float64.

Where both take the rows in the same order, the results must be the same but for rounding, whatever the plan and however
unlike the clients.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from some_cohorts import PLANS, RAGGED, cohort

from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import Trainer
from simulation.cohort.schedule import Schedule, groups
from simulation.cohort.shards import Shards
from simulation.cohort.trainer import CohortFit, CohortTrainer


def row(values: Array | None, client: int) -> Array | None:
    return values if values is None or values.ndim == 1 else values[client]


@pytest.mark.parametrize("own_starts", [False, True])
@pytest.mark.parametrize("hidden", [(), (7,), (6, 5)])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("name", PLANS)
def test_each_client_is_trained_as_a_device_would(
    name: str, optimiser: str, hidden: tuple[int, ...], own_starts: bool
) -> None:
    common = {"loss": "cross_entropy", "batch_size": 4, "local_epochs": 3, "learning_rate": 0.03}
    plan = TrainPlan(**common | PLANS[name] | {"optimiser": optimiser, "shuffle": False})  # type: ignore[arg-type]
    spec = ModelSpec(inputs=12, outputs=3, hidden=hidden)
    shards, datasets, start = cohort(spec, plan, RAGGED, own_starts=own_starts)
    rng = np.random.default_rng(3)
    linear = 0.1 * rng.standard_normal((len(RAGGED), start.shape[-1])) if plan.correction != "none" else None
    anchor = 0.1 * rng.standard_normal(start.shape[-1]) if own_starts else None
    fit = CohortTrainer(spec, plan, np.float64).fit(start, shards, rng, linear, anchor)
    device = Trainer(spec, plan, np.float64)
    for client, data in enumerate(datasets):
        if not data.samples:
            assert not fit.deltas[client].any()
            assert (fit.steps[client], fit.loss_samples[client]) == (0, 0)
            continue
        begin = start if start.ndim == 1 else start[client]
        expected = device.fit(begin, data, rng, None, row(linear, client), anchor)
        np.testing.assert_allclose(fit.deltas[client], expected.weights - begin, rtol=0, atol=1e-11)
        counts = fit.samples[client], fit.steps[client], fit.epochs[client], fit.loss_samples[client]
        assert counts == (expected.samples, expected.steps, expected.epochs, expected.loss_samples)
        assert fit.loss_sum[client] == pytest.approx(expected.loss_sum)
        assert fit.rate_sum[client] == pytest.approx(expected.rate_sum)
    assert not fit.diverged.any()


def test_a_client_that_diverges_says_so_and_harms_no_other() -> None:
    spec, plan = ModelSpec(inputs=3, outputs=1), TrainPlan(loss="mse", batch_size=2, local_epochs=60)
    shards, _, start = cohort(spec, plan, (8, 8, 8))
    shards.x[shards.rows[8:16]] *= 1e8
    fit = CohortTrainer(spec, plan, np.float64).fit(start, shards, np.random.default_rng(1))
    assert fit.diverged.tolist() == [False, True, False]
    assert np.isfinite(fit.deltas[[0, 2]]).all()


def test_dropout_is_that_of_a_device_on_average() -> None:
    spec = ModelSpec(inputs=5, outputs=1, hidden=(40,), dropout=0.5)
    plan = TrainPlan(loss="mse", batch_size=0, learning_rate=0.1)
    shards, datasets, start = cohort(spec, plan, (10,) * 400)
    rng = np.random.default_rng(5)
    same = shards._replace(rows=np.tile(shards.rows[:10], 400))
    found = CohortTrainer(spec, plan, np.float64).fit(start, same, rng).deltas
    device = Trainer(spec, plan, np.float64)
    expected = np.array([device.fit(start, datasets[0], rng).weights - start for _ in range(400)])
    error = np.hypot(found.std(axis=0), expected.std(axis=0)) / np.sqrt(400)
    assert (np.abs(found.mean(axis=0) - expected.mean(axis=0)) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(found.std(axis=0).mean(), expected.std(axis=0).mean(), rtol=0.05)


def test_nothing_is_drawn_but_from_the_generator() -> None:
    spec, plan = ModelSpec(inputs=5, outputs=2, hidden=(4,)), TrainPlan(loss="cross_entropy", batch_size=3)
    shards, _, start = cohort(spec, plan, RAGGED)
    trainer = CohortTrainer(spec, plan)

    def fit(seed: int) -> CohortFit:
        return trainer.fit(start, shards, np.random.default_rng(seed))

    np.testing.assert_array_equal(fit(1).deltas, fit(1).deltas)
    assert (fit(1).deltas != fit(2).deltas).any()


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    batch=st.integers(0, 12),
    epochs=st.integers(1, 3),
    largest=st.integers(1, 5),
    shuffle=st.booleans(),
)
def test_every_epoch_shows_each_row_once(
    sizes: list[int], batch: int, epochs: int, largest: int, shuffle: bool
) -> None:
    plan = TrainPlan(loss="mse", batch_size=batch, local_epochs=epochs, shuffle=shuffle)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    pool = np.zeros((max(sum(sizes), 1), 1))
    shards = Shards(pool, pool, np.random.default_rng(0).permutation(sum(sizes)), starts)
    found = list(groups(shards.samples, plan, largest))
    assert sorted(client for group in found for client in group.clients) == np.flatnonzero(sizes).tolist()
    for group in found:
        assert len(group.clients) <= largest
        schedule = Schedule(group, shards, plan, np.random.default_rng(1))
        for epoch in range(epochs):
            shown = schedule.rows(epoch * group.epoch_steps, (epoch + 1) * group.epoch_steps)
            is_there = np.ones(shown.shape, bool) if schedule.filled is None else schedule.filled > 0
            for place, client in enumerate(group.clients):
                own = shards.rows[starts[client] : starts[client + 1]]
                assert sorted(shown[:, place][is_there[:, place]]) == sorted(own)


def test_the_order_is_another_in_each_epoch_and_for_each_client() -> None:
    plan = TrainPlan(loss="mse", batch_size=5, local_epochs=2)
    pool = np.zeros((40, 1))
    shards = Shards(pool, pool, np.tile(np.arange(20), 2), np.array([0, 20, 40]))
    (group,) = groups(shards.samples, plan, 2)
    schedule = Schedule(group, shards, plan, np.random.default_rng(1))
    orders = {
        tuple(schedule.rows(4 * epoch, 4 * epoch + 4)[:, client].ravel()) for epoch in (0, 1) for client in (0, 1)
    }
    assert len(orders) == 4
