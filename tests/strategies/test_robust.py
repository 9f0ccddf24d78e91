"""Robust rules against what their papers say, written down naively; and what holds for any updates."""

import numpy as np
import pytest
from directions import direction, normal, updates
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, FusionError, UpdatesInMemory, create, tiles
from strategies.attackers import Tolerance

COUNTS = st.integers(7, 25)
SEEDS = st.integers(0, 2**32 - 1)
FINITE = st.floats(-(2.0**60), 2.0**60, width=32)
ROBUST = (
    "bulyan",
    "centred_clipping",
    "geometric_median",
    "krum",
    "median",
    "multi_krum",
    "norm_clipping",
    "trimmed_mean",
)
MIXED = (("bucketing",), ("clip_norm",), ("nearest_neighbour_mixing",), ("clip_norm", "nearest_neighbour_mixing"))


def naive_krum_scores(rows, f):
    rows = rows.astype(np.float64)
    far = [sorted(np.sum((a - b) ** 2) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)]
    return [sum(each[: max(1, len(rows) - f - 2)]) for each in far]


def naive_bulyan(rows, f):
    left, chosen = list(rows), []
    while len(chosen) < len(rows) - 2 * f:
        chosen.append(left.pop(int(np.argmin(naive_krum_scores(np.array(left), f)))))
    result = []
    for column in np.array(chosen, np.float64).T:
        nearest = np.argsort(np.abs(column - np.median(column)), kind="stable")
        result.append(column[nearest[: len(chosen) - 2 * f]].mean())
    return result


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, count=COUNTS)
def test_each_rule_is_what_its_paper_says(seed, count):
    rows, f = normal(seed, count), (count - 3) // 4
    ascending = np.sort(rows.astype(np.float64), axis=0)
    best = np.argsort(naive_krum_scores(rows, f), kind="stable")
    expected = {
        "median": np.median(rows.astype(np.float64), axis=0),
        "trimmed_mean": ascending[f : count - f].mean(axis=0),
        "krum": rows[best[0]],
        "multi_krum": rows[best[: count - f]].mean(axis=0),
        "bulyan": naive_bulyan(rows, f),
    }
    for name, wanted in expected.items():
        options = {} if name == "median" else {"f": f}
        np.testing.assert_allclose(direction(name, rows, **options), wanted, rtol=1e-5, atol=1e-6, err_msg=name)


@settings(max_examples=20, deadline=None)
@given(row=hnp.arrays(np.float32, 4, elements=FINITE), count=st.integers(1, 12))
@pytest.mark.parametrize("before", [(), *MIXED])
@pytest.mark.parametrize("name", ROBUST)
def test_what_all_agree_on_is_what_comes_out(name, before, row, count):
    np.testing.assert_allclose(direction(name, np.tile(row, (count, 1)), before), row, rtol=1e-4, atol=1e-30)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, count=COUNTS, power=st.integers(-40, 40), before=st.sampled_from([(), *MIXED[1:]]))
@pytest.mark.parametrize("name", ROBUST)
def test_updates_of_any_scale_are_treated_alike(name, before, seed, count, power):
    """To the bit, as a power of two changes no rounding. Bucketing draws by the updates themselves, and so anew."""
    rows, scale = normal(seed, count), np.float32(2.0**power)
    rows[: count // 4] *= 1000
    np.testing.assert_array_equal(direction(name, rows * scale, before), direction(name, rows, before) * scale)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, f=st.integers(1, 3), outlier=hnp.arrays(np.float32, 6, elements=FINITE))
@pytest.mark.parametrize("name", ["bulyan", "krum", "median", "multi_krum", "trimmed_mean"])
def test_attackers_move_no_weight_out_of_the_honest_range(name, seed, f, outlier):
    honest = normal(seed, 4 * f + 3 - f)
    rows = np.concatenate((np.tile(outlier, (f, 1)), honest))
    options = {} if name == "median" else {"f": f}
    found = direction(name, rows, **options)
    if name in ("krum", "multi_krum"):  # chosen as a whole: only an attacker as near as honest ones is chosen
        assert np.linalg.norm(found) <= 3 * np.linalg.norm(honest, axis=1).max()
        return
    low, high = honest.min(axis=0), honest.max(axis=0)
    # Bulyan may take an attacker's value, but only one as close to the median as an honest one
    beyond = (high - low if name == "bulyan" else 0.0) + 1e-6
    assert (found >= low - beyond).all()
    assert (found <= high + beyond).all()


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 9).flatmap(lambda count: hnp.arrays(np.float32, (count, 3), elements=FINITE)),
    before=st.sampled_from([(), *MIXED]),
)
@pytest.mark.parametrize("name", ROBUST)
def test_nothing_finite_gives_anything_else(name, rows, before):
    assert np.isfinite(direction(name, rows, before)).all()


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("before", [(), *MIXED])
def test_tiles_of_any_width_give_the_same(monkeypatch, name, before):
    rows = normal(5, 11, size=37)
    whole = direction(name, rows, before)
    monkeypatch.setattr(tiles, "FEWEST_COLUMNS", 1)
    monkeypatch.setattr(tiles, "TILE_BYTES", 4 * 11 * 5)
    monkeypatch.setattr(tiles, "SORTED_COLUMNS", 3)
    np.testing.assert_allclose(direction(name, rows, before), whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ROBUST)
def test_what_a_device_claims_does_not_weigh_in(name):
    strategy = create(StrategyChoice(name), "job.toml")
    updates = [ClientUpdate(bytes([i]) * 16, 1, row) for i, row in enumerate(normal(7, 9))]
    liars = [update._replace(samples=10**6) if update.client[0] < 4 else update for update in updates]
    weights = np.zeros(6, np.float32)
    first, second = (
        strategy.fuse(weights, UpdatesInMemory(each), strategy.initial_state(6)).weights for each in (updates, liars)
    )
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("name", "before", "fewest"),
    [
        ("krum", (), 2 * 2 + 3),
        ("multi_krum", (), 2 * 2 + 3),
        ("bulyan", (), 4 * 2 + 3),
        ("trimmed_mean", (), 2 * 2 + 1),
        ("median", ("nearest_neighbour_mixing",), 2 * 2 + 1),
    ],
)
def test_too_few_updates_for_so_many_attackers_are_refused(name, before, fewest):
    direction(name, normal(1, fewest), before, f=2)
    with pytest.raises(FusionError, match=rf"f = 2 .*{fewest} updates.*here are {fewest - 1}; lower .*f to 1"):
        direction(name, normal(1, fewest - 1), before, f=2)


@pytest.mark.parametrize("beta", [0.5, -0.1])
def test_a_share_that_leaves_nothing_is_refused_at_once(beta):
    with pytest.raises(ConfigError, match=r"strategy\.options\.beta: .*: expected `float`"):
        create(StrategyChoice("trimmed_mean", {"beta": beta}), "job.toml")


def test_a_negative_number_of_attackers_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"strategy\.options\.f: -1: expected `int` >= 0"):
        create(StrategyChoice("krum", {"f": -1}), "job.toml")


def test_parts_share_the_number_of_attackers():
    strategy = create(StrategyChoice("krum", {"f": 2}, before=("nearest_neighbour_mixing",)), "job.toml")
    assert (strategy.combine.f, strategy.before[0].f) == (2, 2)


@pytest.mark.parametrize("name", ROBUST)
def test_no_robust_rule_takes_stale_updates(name):
    with pytest.raises(ConfigError, match="stale"):
        create(StrategyChoice(name), "job.toml", is_asynchronous=True)


def test_mixing_takes_no_stale_updates_either():
    with pytest.raises(ConfigError, match=r"strategy\.before: 'bucketing' knows nothing of stale.*take clip_norm"):
        create(StrategyChoice("fedbuff", before=("bucketing",)), "job.toml", is_asynchronous=True)
    create(StrategyChoice("fedbuff", before=("clip_norm",)), "job.toml", is_asynchronous=True)


@pytest.mark.parametrize(("count", "assumed"), [(1, 0), (4, 0), (5, 1), (9, 2), (10, 3), (20, 6)])
def test_three_in_ten_are_assumed_or_as_many_as_can_be(count, assumed):
    assert Tolerance("krum", per_attacker=2, besides=3).assumed(None, updates(normal(1, count))) == assumed
