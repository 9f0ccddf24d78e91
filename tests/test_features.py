"""Names and number of summary features, and a job file that gets them wrong."""

import msgspec
import pytest

from fedloom.errors import ConfigError
from fedloom.features import channels, summary_names, summary_width, triples
from fedloom.job import Job, check_job
from fedloom.job.data import Data, Window
from fedloom.job.rounds import Rounds
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec

IMU = ("ax", "ay", "az", "gyro_X", "gyro_Y", "gyro_Z", "heat")


def test_triples_become_magnitudes():
    assert channels(IMU) == (*IMU, "|a|", "|gyro|")
    assert triples(("ax", "ay", "heat", "az")) == ()
    assert triples(("ax", "by", "cz")) == ()
    assert triples(("x",)) == ()


def test_names_are_as_many_as_the_width_and_differ():
    names = summary_names(IMU)
    assert len(names) == len(set(names)) == summary_width(IMU) == 108
    assert names[0] == "mean(ax)"
    assert names[-1] == "octave5(|gyro|)"


def test_job_with_another_number_of_inputs_is_refused():
    job = Job(
        name="watch",
        model=ModelSpec(inputs=96, outputs=2),
        data=Data(features=IMU[:6], target="t", classes=("a", "b"), window=Window(200, 50)),
        training=TrainPlan("cross_entropy"),
        rounds=Rounds(1),
    )
    check_job(job, "job.toml")
    wrong = msgspec.structs.replace(job, model=ModelSpec(inputs=71, outputs=2))
    with pytest.raises(ConfigError, match=r"model.inputs: 71 inputs, but these features give 96 .* set it to 96"):
        check_job(wrong, "job.toml")
