"""A job whose strategy is Flower's: checked, run, killed in the middle, carried on, and recomputed bit for bit."""

import json

import numpy as np
import pytest

from aggregator.initial import initial_model
from fedloom.command import main
from fedloom.job import load_job
from fedloom.learning.model_file import load
from strategies import ClientUpdate, UpdatesInMemory, create_for

JOB = '[strategy]\nname = "flwr:FedAdam"\noptions = { eta = 0.1, beta_1 = 0.9, beta_2 = 0.99 }\n'


@pytest.fixture
def rig(make_rig):
    """Four devices and a job of four rounds of FedAdam."""
    made = make_rig(devices=4, count=4)
    made.config.job.write_text(made.config.job.read_text() + JOB)
    (made.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    return made


def begin(rig):
    rig.boot()
    rig.ready()
    rig.work()


def final_model(rig):
    rig.finish_job()
    return load(max((rig.state / "models" / "line").glob("*.fedloom"))).weights


def expected(rig):
    """What the rule makes of the devices' one-hot updates, with its state in memory all the while."""
    job = load_job(rig.config.job)
    rule = create_for(job, "job.toml")
    weights, state = initial_model(job, rig.config.job).weights, rule.initial_state(4)
    rows = np.eye(4, dtype=np.float32)
    for _ in range(job.rounds.count):
        updates = [ClientUpdate(device.id, 1, row) for device, row in zip(rig.devices, rows, strict=True)]
        weights, state = rule.fuse(weights, UpdatesInMemory(updates), state)
    return weights


def command(*words):
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code or 0


def test_a_kill_in_the_middle_changes_nothing(rig):
    begin(rig)
    rig.answer_all()
    rig.answer_all()
    rig.crash()
    begin(rig)
    assert final_model(rig).tobytes() == expected(rig).tobytes()


def test_each_round_is_recomputed_to_the_bit(rig, capsys):
    begin(rig)
    rig.finish_job()
    for number in range(1, 5):
        config = str(rig.directory / "aggregator.toml")
        assert command("round", "verify", "line", str(number), "--json", "--config", config) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["outcome"], found["problems"]) == ("identical", [])
        assert found["recorded"] == found["recomputed"]


def test_it_sees_the_layers_that_devices_share(rig):
    text = rig.config.job.read_text().replace("outputs = 1", "outputs = 1\nhidden = [4]")
    rig.config.job.write_text(text + '[personal]\nmethod = "head"\n')
    rule = create_for(load_job(rig.config.job), "job.toml")
    assert rule.layout.names == ("0.weight", "0.bias")


def test_a_job_is_checked(rig, capsys):
    assert command("job", "check", str(rig.config.job)) == 0
    assert "is right: 4 weights, 4 rounds, flwr:FedAdam" in capsys.readouterr().out
    rig.config.job.write_text(rig.config.job.read_text().replace("eta =", "etta ="))
    assert main(["job", "check", str(rig.config.job)]) == 2
    assert "did you mean 'eta'?" in capsys.readouterr().err
