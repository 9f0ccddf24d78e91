"""A round that its strategy cannot fuse: skipped cleanly, with the reason in its record."""

from typing import ClassVar

import numpy as np
import pytest

from fedloom.command import main
from fedloom.job.choices import StrategyChoice
from strategies import FusionError, create, registry
from strategies.base import Fused, State
from strategies.composed import Composed
from strategies.fedavg import Mean
from strategies.moments import Moments


class Moody(Mean, frozen=True, forbid_unknown_fields=True):
    """Fuses when it likes to."""

    moods: ClassVar[list[Exception]] = []

    def combine(self, updates, size):
        if self.moods:
            raise self.moods.pop()
        return super().combine(updates, size)


@pytest.fixture
def rig(make_rig, monkeypatch):
    monkeypatch.setitem(registry.COMPOSED, "moody", registry.Recipe(Moody))
    rig = make_rig(devices=3, count=2)
    path = rig.config.job
    path.write_text(path.read_text() + '[strategy]\nname = "moody"\n')
    (rig.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    rig.boot()
    rig.ready()
    rig.work()
    return rig


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        (FusionError("3 updates, of which 7 are needed"), "3 updates, of which 7 are needed"),
        (ZeroDivisionError("division by zero"), "strategy 'moody' has failed: ZeroDivisionError: division by zero"),
        (KeyError("loss"), "strategy 'moody' has failed: KeyError: 'loss'"),
    ],
)
def test_the_round_is_skipped_and_its_record_says_why(rig, capsys, mood, says):
    progress = rig.parts.core.coordinator._progress
    before, version = progress.model.weights.copy(), progress.model.version
    Moody.moods[:] = [mood]
    rig.answer_all()
    assert (progress.model.version, progress.model.weights.tolist()) == (version, before.tolist())
    (device, *_) = rig.devices
    assert (device.manifest.round, device.manifest.attempt, device.manifest.closes.outcome) == (1, 2, "aborted")
    rig.finish_job()
    assert progress.model.version == version + 2
    with pytest.raises(SystemExit):
        main(["round", "show", "line", "1", "--config", str(rig.directory / "aggregator.toml")])
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("round 1"))
    assert first == f"round 1 (train), attempt 1: aborted ({says})"
    assert second == "round 1 (train), attempt 2: done"


def test_a_job_asks_for_what_its_devices_cannot_tell(rig):
    """q-FedAvg wants losses that these devices do not send: a FusionError, whose text is the remedy."""
    strategy = create(StrategyChoice("qfedavg", {"client_learning_rate": 0.1}), "job.toml")
    rig.parts.archive._strategy = strategy
    rig.answer_all()
    (closed,) = [notice for notice in rig.notices if getattr(notice, "reason", "").startswith("qfedavg needs")]
    assert closed.outcome == "aborted"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda weights: Fused(weights.astype(np.float64), State()), "TypeError: its model is float64"),
        (lambda weights: Fused(weights[:-1], State()), "TypeError: its model is float32"),
        (lambda weights: Fused(weights.tolist(), State()), "AttributeError: 'list'"),
        (lambda weights: Fused(weights, Moments()), "TypeError: its state is a Moments, which began as a State"),
        (lambda weights: (weights, State()), "AttributeError: 'tuple'"),
        (lambda weights: Fused(weights * np.nan, State()), "the fused model is not finite"),
    ],
)
def test_what_is_no_model_is_not_kept(rig, monkeypatch, make, says):
    progress = rig.parts.core.coordinator._progress
    version = progress.model.version
    monkeypatch.setattr(Composed, "fuse", lambda self, weights, updates, state: make(weights))
    rig.answer_all()
    assert progress.model.version == version
    (closed,) = [notice for notice in rig.notices if says in getattr(notice, "reason", "")]
    assert closed.outcome == "aborted"
