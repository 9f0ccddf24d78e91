"""Which model versions stay on disk."""

import numpy as np
import pytest

from aggregator.history import ModelEntry
from aggregator.records import CurrentModel, NewModel
from aggregator.registry import Registry
from fedloom.errors import StoreError
from fedloom.job import load_job

LOSSES = (3.0, 1.0, 2.0, 2.5, 2.6)


@pytest.fixture
def registry(make_rig, tmp_path):
    make_rig()
    registry = Registry(tmp_path / "models", load_job(tmp_path / "job.toml"))
    for version, loss in enumerate(LOSSES):
        registry.save(NewModel(CurrentModel(version, np.full(4, version, np.float32), None), bytes(32), version, 1, 1))
        registry.evaluated(version, {"loss": loss})
    return registry


def versions(registry):
    return [number for number in range(len(LOSSES)) if registry.path(number).exists()]


def test_the_newest_and_the_best_stay(registry):
    registry.prune(2)
    assert versions(registry) == [1, 3, 4]
    assert registry.load(1).weights.tolist() == [1.0] * 4


def test_the_best_is_judged_by_the_job_s_metric(registry):
    registry.evaluated(0, {"loss": 0.5})
    registry.prune(1)
    assert versions(registry) == [0, 4]
    with pytest.raises(StoreError, match="cannot be read"):
        registry.load(1)


def test_pruning_goes_on_after_a_restart(registry, tmp_path):
    names = (registry.path(version).name for version in range(len(LOSSES)))
    entries = [
        ModelEntry(v, name, v, 1, 1, {"loss": loss}) for v, (name, loss) in enumerate(zip(names, LOSSES, strict=True))
    ]
    again = Registry(tmp_path / "models", load_job(tmp_path / "job.toml"), entries)
    again.prune(1)
    assert versions(again) == [1, 4]
