"""Fusion: what is not finite is found, not warned about; statistics are no metrics."""

import numpy as np
import pytest

from aggregator import events as ev
from aggregator.fusion import fuse
from aggregator.records import Answer
from fedloom import msgpack
from fedloom.job import load_job
from fedloom.wire.messages import Phase, Update, Verdict
from strategies import FusionError, create


@pytest.fixture
def fused(rig, replace):
    """The outcome of a round whose spool holds these updates, admitted or not."""
    job = load_job(rig.config.job)
    opened = rig.parts.core.coordinator._intake.opened
    spool = rig.parts.archive._spool
    segment = spool.segment(opened.job, opened.round, 9)

    def run(phase, *updates, weights=None):
        answers = [
            Answer(device.id, bytes(32), Verdict.ACCEPTED, "", update.samples, encoding=1, body=msgpack.encode(update))
            for device, update in zip(rig.devices, updates, strict=False)
        ]
        order = ev.Fuse(opened._replace(phase=phase), weights, b"")
        return fuse(order, job, create(job.strategy, ""), segment, spool.append(segment, answers))

    return run


def numbers(*values, kind="<f8"):
    return np.array(values, kind).tobytes()


def test_metrics_that_overflow_are_left_out_without_a_warning(fused):
    metrics = numbers(1.0, 1.7e308, 1.7e308, 1.0, 1e300, 1e300)
    update = Update(0, 0, 0.0, b"", metrics, "")
    figures = fused(Phase.EVALUATE, update, update).metrics
    assert figures["mae"] == 1.0
    assert not {"loss", "mse", "rmse"} & figures.keys()


def test_a_model_that_overflows_is_refused_without_a_warning(fused):
    vector = numbers(*[3e38] * 4, kind="<f4")
    with pytest.raises(FusionError, match="not finite"):
        fused(Phase.TRAIN, Update(1, 1, 0.5, vector, b"", ""), weights=np.full(4, 3e38, np.float32))


def test_statistics_that_overflow_are_refused_without_a_warning(fused):
    moments = numbers(1.0, *[1e150] * 3, *[1e300] * 3)
    with pytest.raises(FusionError, match="mean or deviation is not finite"):
        fused(Phase.STATISTICS, Update(1, 0, 0.0, moments, b"", ""))


def test_metrics_in_the_statistics_round_are_ignored(fused):
    moments = numbers(2.0, *[1.0] * 3, *[1.0] * 3)
    result = fused(Phase.STATISTICS, Update(2, 0, 0.0, moments, numbers(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), ""))
    assert result.metrics == {}
    assert result.standardiser is not None
