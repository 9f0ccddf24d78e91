"""Metrics add up exactly; what a peer sends is believed only if it is possible."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.metrics import AUC_BINS, HEAD, Metrics
from fedloom.learning.spec import ModelSpec

LOSSES = ("mse", "huber", "binary_cross_entropy", "cross_entropy")


def model_for(loss):
    spec = ModelSpec(inputs=4, outputs=1 if loss == "binary_cross_entropy" else 3, hidden=(5,))
    return spec, initial_weights(spec, np.random.default_rng(3))


@pytest.mark.parametrize("loss", LOSSES)
@given(cuts=st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=25, deadline=None)
def test_metrics_of_a_union_are_the_sum_of_the_parts(loss, cuts):
    spec, weights = model_for(loss)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    y = {"cross_entropy": rng.integers(0, 3, 60), "binary_cross_entropy": rng.integers(0, 2, 60)}.get(
        loss, rng.normal(size=(60, 3)).astype(np.float32)
    )
    whole = evaluate(spec, loss, weights, Dataset(x, y))
    edges = [0, *sorted(cuts), 60]
    parts = [evaluate(spec, loss, weights, Dataset(x[a:b], y[a:b])) for a, b in itertools.pairwise(edges)]
    total = sum(parts, Metrics.zero(loss, spec.outputs))
    if loss in ("mse", "huber"):
        np.testing.assert_allclose(total.sums, whole.sums, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(total.sums[HEAD:], whole.sums[HEAD:])
        assert total.sums[1] == pytest.approx(whole.sums[1], rel=1e-6)
    assert total.samples == whole.samples == 60
    back = Metrics.from_vector(total.to_vector(), loss, spec.outputs)
    assert back.summary() == total.summary()
    assert len(total.to_vector()) == Metrics.length(loss, spec.outputs)


def test_figures_of_a_known_confusion_matrix():
    metrics = Metrics.zero("cross_entropy", 3)
    metrics.sums[:2] = 10, 5.0
    metrics.confusion[:] = [[4, 1, 0], [2, 3, 0], [0, 0, 0]]
    figures = metrics.summary()
    assert figures["accuracy"] == 0.7
    assert figures["loss"] == 0.5
    assert figures["precision_0"] == pytest.approx(4 / 6)
    assert figures["recall_1"] == 0.6
    assert figures["f1_2"] == 0.0
    assert figures["f1"] == pytest.approx((8 / 11 + 6 / 9) / 2)  # class 2 does not occur


def test_auc_counts_ties_half():
    metrics = Metrics.zero("binary_cross_entropy", 1)
    metrics.sums[0] = 4
    metrics.histograms[0, [10, 20]] = 1
    metrics.histograms[1, [20, 30]] = 1
    metrics.confusion[:] = [[2, 0], [2, 0]]
    assert metrics.summary()["auc"] == (0.5 + 1 + 1 + 1) / 4
    assert metrics.summary()["f1"] == 0.0


def test_auc_needs_both_classes():
    metrics = Metrics.zero("binary_cross_entropy", 1)
    metrics.sums[0] = metrics.histograms[1, 3] = metrics.confusion[1, 0] = 1
    assert np.isnan(metrics.summary()["auc"])


def test_a_constant_target_has_no_r2():
    spec = ModelSpec(inputs=1, outputs=1)
    data = Dataset(np.ones((4, 1), np.float32), np.full((4, 1), 3.0, np.float32))
    off = evaluate(spec, "mse", np.array([0.0, 2.0], np.float32), data).summary()
    exact = evaluate(spec, "mse", np.array([0.0, 3.0], np.float32), data).summary()
    assert (off["mse"], off["loss"], off["mae"], off["r2"]) == (1.0, 0.5, 1.0, 0.0)
    assert exact["r2"] == 1.0


def test_no_samples_have_no_figures():
    assert Metrics.zero("mse", 2).summary() == {"samples": 0.0}


def test_blocks_do_not_show(monkeypatch):
    spec, weights = model_for("cross_entropy")
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 3, 50))
    at_once = evaluate(spec, "cross_entropy", weights, data)
    monkeypatch.setattr("fedloom.learning.blocks.MAX_BLOCK_ROWS", 7)
    np.testing.assert_allclose(evaluate(spec, "cross_entropy", weights, data).sums, at_once.sums, rtol=1e-6)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, 3.0, "does not add up to the number of samples"),
        (0, 2.5, "not whole"),
        (0, 2.0**60, "too large to be exact"),
        (1, np.nan, "not finite"),
        (2, -1.0, "negative"),
        (HEAD + 4, 1.0, "histograms do not add up"),
    ],
)
def test_impossible_metrics_are_refused(position, value, message):
    vector = Metrics.zero("binary_cross_entropy", 1).to_vector()
    vector[position] = value
    with pytest.raises(ValueError, match=message):
        Metrics.from_vector(vector, "binary_cross_entropy", 1)


def test_sums_of_targets_may_be_negative_but_not_squares():
    vector = np.array([2, 1.0, 1.0, 1.0, -5.0, 13.0])
    assert Metrics.from_vector(vector, "mse", 1).samples == 2
    vector[5] = -13.0
    with pytest.raises(ValueError, match="negative"):
        Metrics.from_vector(vector, "mse", 1)


def test_a_wrong_length_or_model_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(11,\)"):
        Metrics.from_vector(np.zeros(3), "cross_entropy", 3)
    with pytest.raises(ValueError, match="different models"):
        Metrics.zero("mse", 1) + Metrics.zero("mse", 2)
    assert Metrics.length("binary_cross_entropy", 1) == HEAD + 4 + 2 * AUC_BINS


def test_the_sender_s_vector_is_copied():
    vector = Metrics.zero("mse", 1).to_vector()
    metrics = Metrics.from_vector(vector, "mse", 1)
    vector[0] = 7.0
    assert metrics.samples == 0
