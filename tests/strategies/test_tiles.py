"""Column tiles: nothing is left out, nothing is held that does not have to be."""

import tracemalloc

import numpy as np
import pytest
from directions import normal, updates

from fedloom.job.choices import StrategyChoice
from strategies import create, mixed, tiles

TILE_BYTES = 2**19
COUNT, SIZE = 100, 40_000
RULES = (
    "bulyan",
    "centred_clipping",
    "geometric_median",
    "krum",
    "median",
    "multi_krum",
    "norm_clipping",
    "trimmed_mean",
)


@pytest.mark.parametrize("columns", [1, 3, 10, 11])
def test_every_column_is_in_one_tile(monkeypatch, columns):
    monkeypatch.setattr(tiles, "FEWEST_COLUMNS", 1)
    monkeypatch.setattr(tiles, "TILE_BYTES", 4 * 4 * columns)
    rows = normal(1, 4, size=10)
    given = updates(rows)
    found = [(tile.columns, tile.deltas.copy()) for tile in tiles.tiles(given, 10)]
    assert [columns.start for columns, _ in found] == list(range(0, 10, columns))
    np.testing.assert_array_equal(np.concatenate([deltas for _, deltas in found], axis=1), rows)


@pytest.fixture(scope="module")
def many():
    """16 MB of updates."""
    return updates(normal(2, COUNT, size=SIZE))


def peak_of(strategy, given):
    weights, state = np.zeros(SIZE, np.float32), strategy.initial_state(SIZE)
    tracemalloc.start()
    try:
        strategy.fuse(weights, given, state)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("before", ["bucketing", "nearest_neighbour_mixing"])
def test_a_rule_that_takes_blocks_of_mixed_updates_takes_what_is_made_at_once(monkeypatch, many, before):
    monkeypatch.setattr(tiles, "FEWEST_COLUMNS", 1)
    monkeypatch.setattr(tiles, "TILE_BYTES", TILE_BYTES)
    monkeypatch.setattr(mixed, "AHEAD_BYTES", 2 * 2**20)
    peak = peak_of(create(StrategyChoice("fedavg", before=(before,)), "job.toml"), many)
    assert 2**20 < peak < 2 * 2**20 + 3 * TILE_BYTES + 3 * 8 * SIZE + 8 * 8 * COUNT**2 < COUNT * SIZE * 4 / 2


@pytest.mark.parametrize("before", [(), ("clip_norm", "bucketing"), ("nearest_neighbour_mixing",)])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_takes_a_few_tiles_and_a_few_models(monkeypatch, many, name, before):
    monkeypatch.setattr(tiles, "FEWEST_COLUMNS", 1)
    monkeypatch.setattr(tiles, "TILE_BYTES", TILE_BYTES)
    options = {"iterations": 1} if name in ("geometric_median", "centred_clipping") else {}
    peak = peak_of(create(StrategyChoice(name, options, before=before), "job.toml"), many)
    distances = 8 * 8 * COUNT**2
    assert peak < 6 * TILE_BYTES + 8 * 8 * SIZE + distances < COUNT * SIZE * 4 / 2
