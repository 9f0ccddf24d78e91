"""Clients that draw: a function of seed and number, distributed as they should be, ten million as cheap as ten."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import job, rows_of
from scipy import stats

from fedloom.simulated import MIN_ALPHA
from simulation.population.build import build
from simulation.population.gamma import log_gamma
from simulation.population.hashing import at, below, keys, mixed, uniform
from simulation.population.summary import summarise

MANY = 10_000_000
PARTITIONS = [
    {"method": "iid"},
    {"method": "shards", "shards": 3},
    {"method": "dirichlet", "alpha": 0.05},
    {"method": "dirichlet", "alpha": 0.05, "balanced": True},
    {"method": "quantity", "min_samples": 3},
    {"method": "features", "noise": 0.1},
]
IDS = st.lists(st.integers(0, MANY - 1), min_size=1, max_size=8)


def made(partition, clients=MANY, samples=20, seed=3, **simulation):
    simulation |= {"dataset": "digits", "clients": clients, "samples": samples, "partition": partition}
    return build(job(simulation, holdout={"fraction": 0.25}), Path("job.toml"), seed)


@pytest.fixture(scope="module", params=PARTITIONS, ids=lambda partition: partition["method"])
def population(request):
    return made(request.param)


@settings(max_examples=20)
@given(ids=IDS)
def test_a_client_is_the_same_whoever_else_is_asked_for(population, ids) -> None:
    together = np.array(ids)
    for ask in (population.training, population.holdout):
        samples = ask(together)
        assert (np.diff(samples.starts) >= 0).all()
        assert rows_of(samples) == [ask(np.array([client])).rows.tolist() for client in ids]
        assert samples.rows.size == 0 or 0 <= samples.rows.min() <= samples.rows.max() < population.pool.samples
        view = population.features(together, samples)
        if view is not None:
            alone = [population.features(np.array([client]), ask(np.array([client]))) for client in ids]
            np.testing.assert_array_equal(view, np.concatenate(alone))
    assert population.sizes(together).tolist() == population.training(together).sizes.tolist()
    assert population.sizes(together).min() >= 1


def test_another_seed_is_another_population() -> None:
    ids = np.arange(5)
    assert (
        made({"method": "iid"}, seed=1).training(ids).rows != made({"method": "iid"}, seed=2).training(ids).rows
    ).any()


def test_nobody_draws_what_is_kept_for_testing() -> None:
    population = made({"method": "dirichlet"}, test_fraction=0.3)
    drawn = np.unique(population.training(np.arange(5000)).rows)
    assert len(drawn) == 1797 - population.test.samples
    kept = {row.tobytes() for row in population.test.x}
    assert not any(row.tobytes() in kept for row in population.pool.x[drawn[:50]])


def test_everybody_draws_from_all_rows_alike() -> None:
    rows = made({"method": "iid"}).training(np.arange(20_000)).rows
    counts = np.bincount(rows, minlength=1797)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_balanced_mixtures_have_the_moments_of_their_dirichlet_distribution() -> None:
    """Var q = p(1 − p) / (α + 1), E q = p: from counts of many draws, whose own noise is p(1 − p)/n of E[q(1 − q)]."""
    population = made({"method": "dirichlet", "alpha": 0.5, "balanced": True}, samples=100)
    samples = population.training(np.arange(4000))
    assert samples.sizes.tolist() == [75] * 4000
    classes = population.pool.y[samples.rows].reshape(4000, 75)
    shares = np.stack([(classes == number).mean(1) for number in range(10)], axis=1)
    prior = np.bincount(population.pool.y) / 1797
    noise = (prior * (1 - prior) * 0.5 / 1.5) / 75
    np.testing.assert_allclose(shares.mean(0), prior, atol=0.02)
    np.testing.assert_allclose(shares.var(0), prior * (1 - prior) / 1.5 + noise, rtol=0.1)


@pytest.mark.parametrize("partition", [{"method": "dirichlet", "alpha": 0.3}, {"method": "quantity", "alpha": 0.3}])
def test_sizes_and_mixtures_are_those_of_the_exact_partition(partition) -> None:
    """The same classes on 89 clients, over and over, beside the law of their limit."""
    asked = {"dataset": "digits", "clients": 89, "partition": partition}
    dealt = [build(job(asked, holdout={"fraction": 0.0}), Path("job.toml"), seed) for seed in range(30)]
    drawn = build(job(asked | {"clients": 3000, "samples": 20}, holdout={"fraction": 0.0}), Path("job.toml"), 0)
    counts = [np.concatenate([summarise(each, 10, 0).counts for each in some]) for some in (dealt, [drawn])]
    sizes = [each.sum(1) for each in counts]
    assert abs(sizes[1].mean() / sizes[0].mean() - 1) < 0.1
    assert stats.ks_2samp(*sizes).statistic < 0.06
    # Σ q² of the larger clients: counts that are cut give it as it is, counts that are drawn less a pair's chance
    cut, met = (each[each.sum(1) >= 15] for each in counts)
    one = np.mean(np.square(cut).sum(1) / cut.sum(1) ** 2)
    other = np.mean((met * (met - 1)).sum(1) / (met.sum(1) * (met.sum(1) - 1)))
    assert abs(other - one) < 0.03


@pytest.mark.parametrize("balanced", [False, True])
def test_a_large_alpha_draws_by_the_data_s_own_shares(balanced) -> None:
    population = made({"method": "dirichlet", "alpha": 1e8, "balanced": balanced})
    samples = population.training(np.arange(20_000))
    assert set(samples.sizes.tolist()) == {15}
    prior = np.bincount(population.pool.y) / 1797
    drawn = population.pool.y[samples.rows]
    assert stats.chisquare(np.bincount(drawn), prior * len(drawn)).pvalue > 1e-6


def test_a_tiny_alpha_is_one_class_a_client() -> None:
    population = made({"method": "dirichlet", "alpha": 1e-4, "balanced": True})
    classes = population.pool.y[population.training(np.arange(500)).rows].reshape(500, -1)
    assert (classes == classes[:, :1]).all(1).mean() > 0.95


@pytest.mark.parametrize("method", ["dirichlet", "quantity"])
def test_the_smallest_alpha_there_is_leaves_nobody_without(method) -> None:
    population = made({"method": method, "alpha": MIN_ALPHA})
    sizes = population.sizes(np.arange(1000))
    assert (sizes.min(), len(population.training(np.arange(1000)).rows)) == (1, sizes.sum())


def test_pieces_are_runs_of_the_sorted_data() -> None:
    population = made({"method": "shards", "shards": 2})
    classes = population.pool.y[population.training(np.arange(300)).rows].reshape(300, -1)
    assert {len(set(row.tolist())) for row in classes} <= {1, 2, 3, 4}
    assert np.mean([len(set(row.tolist())) for row in classes]) < 2.3
    held = population.pool.y[population.holdout(np.arange(300)).rows].reshape(300, -1)
    assert np.mean([len(set(row.tolist())) for row in held]) > 1.5


def test_quantities_are_skewed_and_right_on_average() -> None:
    population = made({"method": "quantity", "alpha": 0.5, "min_samples": 4}, samples=100)
    ids = np.arange(20_000)
    totals = population.sizes(ids) + population.holdout(ids).sizes
    assert totals.min() == 4
    assert abs(totals.mean() - 100) < 3
    # a floor of 4 and a ceiling of all rows hardly change the variance of Gamma(0.5): mean² / α
    assert abs(totals.std() / (100 * np.sqrt(2)) - 1) < 0.05


@pytest.mark.parametrize("shape", [0.01, 0.5, 1.0, 40.0])
def test_gamma_variates_have_their_distribution(shape) -> None:
    logs = log_gamma(np.array([shape, shape]), keys(5, "tested", np.arange(20_000)))
    assert stats.kstest(logs[:, 0], lambda value: stats.gamma(shape).cdf(np.exp(value))).pvalue > 1e-4
    assert abs(stats.spearmanr(logs).statistic) < 0.03


def test_hashed_numbers_are_uniform_and_independent() -> None:
    streams = keys(1, "tested", np.arange(300))
    bits = at(streams[:, None], np.arange(300))
    high, low = uniform(bits)
    for values in (high, low):
        assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-4
        assert 0.0 < values.min() < values.max() < 1.0
    assert abs(np.corrcoef(high.ravel(), low.ravel())[0, 1]) < 0.015
    assert abs(np.corrcoef(high[:-1].ravel(), high[1:].ravel())[0, 1]) < 0.015
    assert np.bincount(below(bits.ravel(), 7), minlength=7).min() > 90_000 / 7 * 0.95


def test_the_finaliser_is_that_of_splitmix64() -> None:
    """The first outputs of the reference implementation for seed 1234567."""
    first = at(np.array([1234567], np.uint64), np.arange(3))
    assert first.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert len(np.unique(mixed(np.arange(1000, dtype=np.uint64)))) == 1000
