"""Batches, order, stopping, reuse; and that a training step allocates nothing."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.learning.dataset import Dataset
from fedloom.learning.initialise import initial_weights
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.step import TrainingStep
from fedloom.learning.trainer import Trainer

SPEC = ModelSpec(inputs=4, outputs=3, hidden=(6,))
LOSSES = ("mse", "huber", "binary_cross_entropy", "cross_entropy")


def fit(plan, data, seed=0, spec=SPEC, **options):
    weights = initial_weights(spec, np.random.default_rng(1))
    return Trainer(spec, plan).fit(weights, data, np.random.default_rng(seed), **options)


@given(st.integers(1, 40), st.integers(0, 15), st.integers(1, 4), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_steps_epochs_and_samples_are_counted(samples, batch, epochs, max_steps):
    data = Dataset(np.ones((samples, 4), np.float32), np.zeros(samples, np.int64))
    plan = TrainPlan(loss="cross_entropy", batch_size=batch, local_epochs=epochs, max_steps=max_steps)
    result = fit(plan, data)
    a_pass = math.ceil(samples / (batch or samples))
    assert result.samples == samples
    assert result.steps == min(a_pass * epochs, max_steps or a_pass * epochs)
    assert result.steps == plan.steps(samples)
    assert result.epochs == result.steps // a_pass
    assert result.stopped == ("steps" if result.steps < a_pass * epochs else "epochs")
    cut = result.steps % a_pass
    assert result.loss_samples == (min(cut * (batch or samples), samples) if cut else samples)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_lowers_the_loss_and_leaves_its_arguments_alone(loss, make_data):
    spec = ModelSpec(inputs=4, outputs=1 if loss == "binary_cross_entropy" else 3, hidden=(16,), activation="tanh")
    data = make_data(spec, loss, 30)
    weights = initial_weights(spec, np.random.default_rng(1))
    before = weights.copy(), data.x.copy(), data.y.copy()
    plan = TrainPlan(loss=loss, batch_size=8, learning_rate=0.1, local_epochs=40)
    trainer = Trainer(spec, plan)
    first = trainer.fit(weights, data, np.random.default_rng(0))
    second = trainer.fit(first.weights, data, np.random.default_rng(1))
    assert second.mean_loss < first.mean_loss < 2.0
    for old, now in zip(before, (weights, *data), strict=True):
        np.testing.assert_array_equal(old, now)
    assert not np.shares_memory(first.weights, second.weights)


@pytest.mark.parametrize("plan", [TrainPlan(loss="cross_entropy", optimiser=name) for name in ("momentum", "adam")])
def test_rounds_do_not_see_each_other(plan, make_data):
    """A trainer that has trained before, on more and on fewer samples, does what a new one does."""
    data, larger, smaller = (make_data(SPEC, "cross_entropy", samples) for samples in (50, 80, 7))
    weights = initial_weights(SPEC, np.random.default_rng(1))
    used = Trainer(SPEC, plan)
    for earlier in (smaller, larger):
        used.fit(weights, earlier, np.random.default_rng(0))
    again = used.fit(weights, data, np.random.default_rng(7))
    fresh = Trainer(SPEC, plan).fit(weights, data, np.random.default_rng(7))
    np.testing.assert_array_equal(again.weights, fresh.weights)
    assert again[1:] == fresh[1:]


def test_the_seed_decides_the_order_and_dropout(make_data):
    data = make_data(SPEC, "cross_entropy", 30)
    spec = ModelSpec(inputs=4, outputs=3, hidden=(6,), dropout=0.5)
    plan = TrainPlan(loss="cross_entropy", batch_size=4)
    for model in (SPEC, spec):
        one, same, other = (fit(plan, data, seed, model).weights for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        assert np.abs(one - other).max() > 1e-4


def test_without_shuffling_the_order_is_the_data_s(make_data):
    data = make_data(SPEC, "cross_entropy", 30)
    plan = TrainPlan(loss="cross_entropy", batch_size=4, shuffle=False)
    np.testing.assert_array_equal(fit(plan, data, 1).weights, fit(plan, data, 2).weights)
    turned = Dataset(np.ascontiguousarray(data.x[::-1]), data.y[::-1].copy())
    assert np.abs(fit(plan, data).weights - fit(plan, turned).weights).max() > 1e-4


def test_training_on_all_samples_does_not_depend_on_their_order(make_data):
    data = make_data(SPEC, "cross_entropy", 30)
    plan = TrainPlan(loss="cross_entropy", batch_size=0, local_epochs=5)
    turned = Dataset(np.ascontiguousarray(data.x[::-1]), data.y[::-1].copy())
    np.testing.assert_allclose(fit(plan, data).weights, fit(plan, turned).weights, atol=1e-6)


def test_a_class_of_weight_zero_teaches_nothing(make_data):
    data = make_data(SPEC, "cross_entropy", 40)
    plan = TrainPlan(loss="cross_entropy", batch_size=0, class_weights=(1.0, 1.0, 0.0))
    kept = data.y < 2
    rest = Dataset(np.ascontiguousarray(data.x[kept]), data.y[kept])
    weighted, without = fit(plan, data), fit(TrainPlan(loss="cross_entropy", batch_size=0), rest)
    start = initial_weights(SPEC, np.random.default_rng(1))
    share = kept.mean()  # the mean is over all samples, so the step is shorter
    np.testing.assert_allclose(weighted.weights - start, (without.weights - start) * share, atol=1e-6)
    assert weighted.loss_sum == pytest.approx(without.loss_sum, rel=1e-5)


def test_a_class_weight_of_two_is_each_sample_twice(make_data):
    data = make_data(SPEC, "cross_entropy", 20)
    twice = Dataset(np.concatenate([data.x, data.x]), np.concatenate([data.y, data.y]))
    plan = TrainPlan(loss="cross_entropy", batch_size=0, local_epochs=3)
    weighted = fit(TrainPlan(loss="cross_entropy", batch_size=5, class_weights=(2.0,) * 3), data)
    assert weighted.loss_samples == 20
    doubled, single = fit(plan, twice), fit(plan, data)
    np.testing.assert_allclose(doubled.weights, single.weights, atol=1e-6)
    plain = fit(TrainPlan(loss="cross_entropy", batch_size=5, learning_rate=0.2), data)
    np.testing.assert_allclose(weighted.weights, plain.weights, atol=1e-6)
    assert weighted.loss_sum == pytest.approx(2 * plain.loss_sum, rel=1e-5)


def test_loss_sum_is_that_of_the_last_epoch(make_data):
    data = make_data(SPEC, "mse", 20)
    plan = TrainPlan(loss="mse", batch_size=0, learning_rate=0.01)
    once = fit(plan, data)
    spec = ModelSpec(inputs=4, outputs=3, hidden=(6,))
    again = Trainer(spec, plan).fit(once.weights, data, np.random.default_rng(0))
    twice = fit(TrainPlan(loss="mse", batch_size=0, learning_rate=0.01, local_epochs=2), data)
    assert twice.loss_sum == pytest.approx(again.loss_sum, rel=1e-6)
    assert twice.loss_sum < once.loss_sum


def test_it_stops_after_so_many_epochs_without_improvement(make_data):
    data = make_data(SPEC, "cross_entropy", 20)
    plan = TrainPlan(loss="cross_entropy", learning_rate=1e-7, local_epochs=50, tolerance=0.1, patience=3, batch_size=0)
    result = fit(plan, data)
    assert (result.stopped, result.epochs) == ("tolerance", 4)  # the first epoch improves on nothing


def test_improvement_is_measured_against_the_best_epoch():
    """Momentum makes the loss swing: a swing back down that stays above the best is no improvement."""
    spec = ModelSpec(inputs=1, outputs=1)
    data = Dataset(np.ones((1, 1), np.float32), np.full((1, 1), 4.0, np.float32))

    def run(**settings):
        plan = TrainPlan(loss="mse", optimiser="momentum", learning_rate=0.1, batch_size=0, **settings)
        return Trainer(spec, plan).fit(np.zeros(2, np.float32), data, np.random.default_rng(0))

    losses = [run(local_epochs=epochs).mean_loss for epochs in range(1, 40)]
    best = int(np.argmin(losses[:12]))  # the closest it comes; afterwards it swings out and back
    assert min(np.diff(losses[best + 1 : best + 12])) < -0.01
    assert run(local_epochs=39, tolerance=1e-6, patience=11).epochs == best + 1 + 11


def test_it_goes_on_while_it_improves(make_data):
    data = make_data(SPEC, "cross_entropy", 20)
    plan = TrainPlan(loss="cross_entropy", learning_rate=0.1, local_epochs=20, tolerance=1e-9, batch_size=0)
    assert fit(plan, data).stopped == "epochs"


def test_it_stops_when_asked_before_any_step_and_in_between(make_data):
    data = make_data(SPEC, "cross_entropy", 20)
    plan = TrainPlan(loss="cross_entropy", batch_size=5, local_epochs=3)
    at_once = fit(plan, data, should_stop=lambda: True)
    assert (at_once.stopped, at_once.steps, at_once.loss_samples) == ("asked", 0, 0)
    assert math.isnan(at_once.mean_loss)
    np.testing.assert_array_equal(at_once.weights, initial_weights(SPEC, np.random.default_rng(1)))
    for allowed, counted in ((6, 10), (8, 20)):  # in the second epoch; between the second and the third
        calls = iter([False] * allowed + [True])
        later = fit(plan, data, should_stop=lambda calls=calls: next(calls))
        assert (later.stopped, later.steps, later.loss_samples) == ("asked", allowed, counted)


def test_a_diverging_run_says_so(make_data):
    data = make_data(ModelSpec(inputs=4, outputs=3), "mse", 20)
    plan = TrainPlan(loss="mse", learning_rate=1e6, local_epochs=50)
    result = fit(plan, data, spec=ModelSpec(inputs=4, outputs=3))
    assert result.stopped == "diverged"
    assert result.epochs < 50


@pytest.mark.parametrize(
    ("weights", "x", "y", "message"),
    [
        (np.zeros(3), np.zeros((2, 4)), np.zeros(2, int), r"weights of shape \(3,\) for a model of 51"),
        (np.zeros(51), np.zeros((2, 5)), np.zeros(2, int), r"features of shape \(2, 5\) for a model with 4 inputs"),
        (np.zeros(51), np.zeros((0, 4)), np.zeros(0, int), "0 rows of features and 0 targets"),
        (np.zeros(51), np.zeros((2, 4)), np.zeros(3, int), "2 rows of features and 3 targets"),
        (np.zeros(51), np.zeros((2, 4)), np.array([0, 3]), "class numbers from 0 to 3"),
    ],
)
def test_what_does_not_fit_is_refused(weights, x, y, message):
    with pytest.raises(ValueError, match=message):
        Trainer(SPEC, TrainPlan(loss="cross_entropy")).fit(weights, Dataset(x, y), np.random.default_rng(0))


def test_class_weights_that_do_not_fit_are_refused(make_data):
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        fit(TrainPlan(loss="cross_entropy", class_weights=(1.0, 2.0)), make_data(SPEC, "cross_entropy", 5))


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_training_step_allocates_nothing(loss, optimiser, rng):
    spec = ModelSpec(inputs=64, outputs=1 if "binary" in loss else 10, hidden=(200, 100), dropout=0.2)
    penalties = {"l1": 0.1, "l2": 0.1, "proximal_mu": 0.1, "correction": "feddyn"}
    plan = TrainPlan(loss=loss, optimiser=optimiser, clip_norm=0.1, **penalties)
    step = TrainingStep(spec, plan, 2, 32)
    step.start(initial_weights(spec, rng))
    targets, values = np.ones((2, 32, spec.outputs), np.float32), np.zeros((2, 32), np.float32)

    def steps(count):
        for _ in range(count):
            step.run(32, targets, 1.0 / 32, 0.01, rng, values)

    # The smallest batch of activations is 16,640 bytes. What is left is numpy's own, for taking a column from logits.
    assert added_bytes(steps) < 6000


@pytest.mark.parametrize("class_weights", [(), (1.0,) * 10])
def test_a_longer_fit_allocates_no_more_than_a_short_one(class_weights, make_data):
    spec = ModelSpec(inputs=64, outputs=10, hidden=(200,))
    data = make_data(spec, "cross_entropy", 100)
    weights = initial_weights(spec, np.random.default_rng(1))

    def peak(epochs):
        plan = TrainPlan(loss="cross_entropy", batch_size=16, local_epochs=epochs, class_weights=class_weights)
        trainer = Trainer(spec, plan)
        return added_bytes(lambda _: trainer.fit(weights, data, np.random.default_rng(0)))

    assert peak(20) < peak(1) + 2048


def added_bytes(work):
    """The most that `work(20)` has allocated at any one time, after it has warmed up."""
    work(3)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work(20)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
