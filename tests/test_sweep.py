"""A sweep's combinations are jobs, and one that is none is refused when the job is read."""

import msgspec
import pytest

from fedloom.errors import ConfigError
from fedloom.job import load_job
from fedloom.job.variants import variants

JOB = """
name = "j"
[model]
inputs = 2
outputs = 1
[data]
features = ["a", "b"]
target = "y"
[training]
loss = "mse"
[rounds]
count = 3
[sweep]
"""


@pytest.fixture
def job(tmp_path):
    def load(sweep):
        (tmp_path / "job.toml").write_text(JOB + sweep)
        return load_job(tmp_path / "job.toml")

    return load


def test_every_combination_is_a_job_without_a_sweep_and_the_last_key_changes_fastest(job):
    found = variants(job('"training.learning_rate" = [0.5, 1]\nseed = [1, 2]'), "job.toml")
    assert [(each.job.training.learning_rate, each.job.seed) for each in found] == [(0.5, 1), (0.5, 2), (1, 1), (1, 2)]
    assert found[1].settings == {"training.learning_rate": 0.5, "seed": 2}
    assert [each.job.sweep for each in found] == [{}] * 4


def test_a_job_without_a_sweep_stands_for_itself(job):
    plain = job("")
    assert [(each.settings, each.job) for each in variants(plain, "")] == [({}, plain)]


def test_whole_tables_lists_and_tables_that_the_job_lacks_can_be_swept_over(job):
    swept = job(
        'strategy = [{ name = "fedavg" }, { name = "fedprox", options = { mu = 0.1 } }]\n'
        '"asynchronous.buffer" = [2]\n"model.hidden" = [[], [3, 4]]'
    )
    found = [each.job for each in variants(swept, "")]
    assert [each.strategy.options for each in found] == [{}, {}, {"mu": 0.1}, {"mu": 0.1}]
    assert [each.model.hidden for each in found] == [(), (3, 4)] * 2
    assert {each.asynchronous.buffer for each in found} == {2}


def test_a_sweep_survives_being_stored(job):
    swept = job('strategy = [{ name = "fedprox", options = { mu = 0.1 } }]\nseed = [1, 2]')
    assert msgspec.json.decode(msgspec.json.encode(swept), type=type(swept)) == swept


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ('"training.lerning_rate" = [1]', "training.lerning_rate: is not a known key; did you mean 'learning_r"),
        ('"trainin.l2" = [1]', "trainin: is not a known key; did you mean 'training'?"),
        ('"training.learning_rate" = [1, -1]', "with training.learning_rate = -1: training.learning_rate: -1: exp"),
        ('"training.learning_rate" = ["x"]', "training.learning_rate: 'x': expected `float`, got `str`"),
        ('"rounds.devices" = [1, 9]\n"rounds.min_updates" = [5]', "with rounds.devices = 1, rounds.min_updates = 5: "),
        ('"seed.x" = [1]', 'sweep."seed.x": seed is a value, not a table'),
        ("seed = []", 'sweep."seed": has no values'),
        ("seed = [1, 2, 1]", 'sweep."seed": has a value twice'),
        ("seed = 1", "sweep.seed: 1: expected `array`, got `int`; make it a list: [1]"),
        ('seed = [1]\n"strategy.name" = "krum"', "sweep.\"strategy.name\": 'krum': expected `array`, got `str`"),
        ("training.l2 = [1]", "sweep.training: expected `array`, got `object`; make it a list; if its key has a dot"),
        ('name = ["a"]', 'sweep."name": cannot be swept over'),
        ('strategy = [{ name = "median" }]\n"strategy.name" = ["krum"]', 'sweep."strategy": sets strategy.name, too'),
        (f"seed = {list(range(40))}\n\"training.batch_size\" = {list(range(26))}", "has 1,040 combinations; leave val"),
    ],
)  # fmt: skip
def test_what_is_no_job_is_refused_with_the_combination(job, sweep, message):
    with pytest.raises(ConfigError) as raised:
        job(sweep)
    assert message in str(raised.value)
