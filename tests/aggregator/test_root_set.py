"""The aggregator's own samples: trained on for FLTrust, the same again in a verification."""

import json

import msgspec
import numpy as np
import pytest

from aggregator import root_set
from aggregator.config import load_config
from aggregator.doctor import examine
from aggregator.notices import RoundClosed
from fedloom.command import main
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError, DataError
from fedloom.health.findings import Level
from fedloom.job import load_job
from fedloom.learning.standardise import Standardiser
from fedloom.wire import encoding
from fedloom.wire.messages import Update
from strategies import FusionError

CONFIG = 'job = "job.toml"\n[broker]\nhost = "localhost"\nport = 1\n[root_set]\npath = "root.csv"\n'


def write_samples(path, slope=1.0, rows=40):
    x = np.random.default_rng(5).normal(size=(rows, 3))
    lines = ["x0,x1,x2,y", *(",".join(map(str, (*row, slope * row.sum()))) for row in x)]
    path.write_text("\n".join(lines))


@pytest.fixture
def make_job(make_rig):
    def make(**settings):
        rig = make_rig(devices=4, count=3, **settings)
        rig.config.job.write_text(rig.config.job.read_text() + '[strategy]\nname = "fltrust"\n')
        write_samples(rig.directory / "root.csv")
        (rig.directory / "aggregator.toml").write_text(CONFIG)
        source = SourceConfig(str(rig.directory / "root.csv"))
        rig.config = msgspec.structs.replace(
            rig.config, config=msgspec.structs.replace(rig.config.config, root_set=source)
        )
        return rig

    return make


@pytest.fixture
def trained(make_job):
    """`trained(round)`: what the root set gives for a model of zeros."""
    rig = make_job()
    job = load_job(rig.config.job)
    own = root_set.load(rig.config.config.root_set, job, "job.toml")
    return lambda number, **changes: own.update(
        number, msgspec.structs.replace(job.training, **changes), np.zeros(4, np.float32), None
    )


def run(rig):
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()
    return rig


def verify(rig, number, capsys):
    status = 0
    try:
        status = main(
            ["round", "verify", "line", str(number), "--json", "--config", str(rig.directory / "aggregator.toml")]
        )
    except SystemExit as end:
        status = end.code or 0
    return status, json.loads(capsys.readouterr().out)["outcome"]


@pytest.mark.parametrize("standardise", ["true", "false"])
def test_a_job_runs_and_its_rounds_are_verified(make_job, capsys, standardise):
    rig = run(make_job(standardise=standardise))
    assert all(closed.outcome == "done" for closed in rig.told(RoundClosed))
    for number in (1, 2, 3):
        assert verify(rig, number, capsys) == (0, "identical")


def test_updates_that_point_another_way_count_for_nothing(make_job):
    rig = make_job()
    rig.boot()
    rig.ready()
    rig.work()
    honest, *attackers = rig.devices
    for device in attackers:
        vector = encoding.encode(np.full(4, -50.0, np.float32), "float32")
        rig.send(device, device.update(Update(1000, 1, 0.5, vector, b"", "")))
    before = rig.parts.core.coordinator._progress.model.weights.copy()
    rig.send(honest, honest.update())
    rig.work()
    moved = rig.parts.core.coordinator._progress.model.weights - before
    assert np.flatnonzero(moved).tolist() == [honest.number]
    assert moved[honest.number] > 0


def test_another_root_set_is_noticed_by_a_verification(make_job, capsys):
    rig = run(make_job())
    write_samples(rig.directory / "root.csv", slope=2.0)
    assert verify(rig, 2, capsys) == (1, "different")


def test_it_trains_the_same_for_a_round_and_otherwise_for_another(trained):
    first = trained(1, batch_size=5)
    assert first.dtype == np.float32
    assert first.tobytes() == trained(1, batch_size=5).tobytes()
    assert first.tobytes() != trained(2, batch_size=5).tobytes()


def test_it_trains_on_all_samples_towards_them(trained):
    np.testing.assert_allclose(trained(1, local_epochs=400, batch_size=0), [1, 1, 1, 0], atol=0.01)


def test_samples_are_standardised_as_the_model_wants_them(make_job):
    rig = make_job()
    job = load_job(rig.config.job)
    own, plan = (
        root_set.load(rig.config.config.root_set, job, "job.toml"),
        msgspec.structs.replace(job.training, local_epochs=400, batch_size=0),
    )
    half = Standardiser(np.zeros(3, np.float32), np.full(3, 2.0, np.float32))
    np.testing.assert_allclose(own.update(1, plan, np.zeros(4, np.float32), half), [2, 2, 2, 0], atol=0.05)


def test_training_that_diverges_makes_no_model(trained):
    with pytest.raises(FusionError, match=r"training on the root set diverged after .* lower the learning rate"):
        trained(1, learning_rate=1e30, local_epochs=50)


def test_a_job_without_a_root_set_is_refused_at_the_start(make_job):
    rig = make_job()
    rig.config = msgspec.structs.replace(rig.config, config=msgspec.structs.replace(rig.config.config, root_set=None))
    with pytest.raises(ConfigError, match=r"strategy\.name: 'fltrust' .* no samples; give it some with \[root_set\]"):
        rig.boot()


def test_a_root_set_that_does_not_fit_is_refused_at_the_start(make_job):
    rig = make_job()
    (rig.directory / "root.csv").write_text("x0,x1,y\n1,2,3\n")
    with pytest.raises(DataError, match=r"root\.csv: x2: the file has no 'x2'"):
        rig.boot()


def test_no_file_is_read_for_a_rule_that_needs_none(make_rig):
    rig = make_rig()
    rig.config = msgspec.structs.replace(
        rig.config, config=msgspec.structs.replace(rig.config.config, root_set=SourceConfig("/nowhere.csv"))
    )
    rig.boot()


def doctor_says(rig):
    return [each for each in examine(load_config(rig.directory / "aggregator.toml")) if each.check == "root set"]


def test_the_doctor_looks_at_it(make_job):
    rig = make_job()
    (found,) = doctor_says(rig)
    assert found.level is Level.OK
    assert "root.csv: 40 samples that fit" in found.seen
    (rig.directory / "root.csv").write_text("x0,x1,y\n1,2,3\n")
    (found,) = doctor_says(rig)
    assert found.level is Level.FAIL
    assert "x2: the file has no 'x2'" in found.seen
    rig.config.job.write_text(rig.config.job.read_text().replace("fltrust", "fedavg"))
    (found,) = doctor_says(rig)
    assert (found.level, found.seen.partition(":")[0]) == (Level.OK, "not read")
    (rig.directory / "aggregator.toml").write_text(CONFIG.partition("[root_set]")[0])
    assert doctor_says(rig) == []


def test_its_path_is_relative_to_the_configuration(tmp_path):
    (tmp_path / "aggregator.toml").write_text(CONFIG)
    assert load_config(tmp_path / "aggregator.toml").config.root_set.path == str(tmp_path / "root.csv")


def test_the_plan_counts(trained):
    assert trained(1, max_steps=1).tobytes() != trained(1).tobytes()
