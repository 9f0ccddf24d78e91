"""A job that could never run is refused at the start, by the name of what is in the way."""

import msgspec
import pytest
from typer.testing import CliRunner

from aggregator.admission import largest_update_bytes
from aggregator.cli import app
from aggregator.config import Limits
from aggregator.opening import check_manifest
from fedloom.errors import ConfigError
from fedloom.job import load_job
from fedloom.wire.messages import MAX_MANIFEST_BYTES, Phase


def with_limit(rig, max_update_bytes):
    config = msgspec.structs.replace(rig.config.config, limits=Limits(max_update_bytes=max_update_bytes))
    rig.config = msgspec.structs.replace(rig.config, config=config)


@pytest.mark.parametrize("standardise", ["true", "false"])
def test_updates_larger_than_the_limit_are_found_before_anything_starts(make_rig, standardise):
    rig = make_rig(inputs=1000, standardise=standardise)
    job = load_job(rig.config.job)
    needed = largest_update_bytes(job, job.training)
    with_limit(rig, needed - 1)
    with pytest.raises(
        ConfigError, match=rf"up to {needed:,} bytes, limits.max_update_bytes .* raise that to {needed}"
    ):
        rig.boot()
    with_limit(rig, needed)
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()


def test_a_manifest_that_no_device_would_take_is_found_before_anything_starts(make_rig):
    rig = make_rig(inputs=21_000)
    with pytest.raises(ConfigError, match=f"manifest takes .* bytes, {MAX_MANIFEST_BYTES:,} allowed; name fewer"):
        rig.boot()
    result = CliRunner().invoke(app, ["job", "check", str(rig.config.job)])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize("standardise", ["true", "false"])
def test_the_manifest_that_was_tried_is_no_smaller_than_a_real_one_and_hardly_larger(
    make_rig, monkeypatch, standardise
):
    rig = make_rig(suite="hybrid", inputs=3000, standardise=standardise)
    rig.boot()
    rig.ready()
    rig.work()
    real = 0
    while rig.devices[0].manifest.phase is not Phase.DONE:
        real = max(real, len(msgspec.msgpack.encode(rig.devices[0].manifest)))
        rig.answer_all()
    job = load_job(rig.config.job)
    monkeypatch.setattr("aggregator.opening.MAX_MANIFEST_BYTES", real - 1)
    with pytest.raises(ConfigError):
        check_manifest(job, job.training, "")
    monkeypatch.setattr("aggregator.opening.MAX_MANIFEST_BYTES", real + 100)
    check_manifest(job, job.training, "")
