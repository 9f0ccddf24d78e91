"""Rules by name, with the options that they have."""

import msgspec
import pytest

from aggregator.cohorts.oort import Oort
from aggregator.cohorts.power_of_choice import PowerOfChoice
from aggregator.cohorts.registry import RULES, create
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.job.choices import CohortChoice
from fedloom.job.data import Data, Holdout
from fedloom.job.rounds import Rounds
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec

JOB = Job(
    name="moves",
    model=ModelSpec(inputs=1, outputs=2),
    data=Data(features=("x",), target="y", classes=("a", "b")),
    training=TrainPlan(loss="cross_entropy"),
    rounds=Rounds(count=1),
)
REGRESSION = {
    "model": ModelSpec(inputs=1, outputs=1),
    "data": Data(features=("x",), target="y"),
    "training": TrainPlan(loss="mse"),
}


def choosing(name, changes=None, **options):
    return msgspec.structs.replace(JOB, cohort=CohortChoice(name=name, options=options), **changes or {})


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_defaults(name):
    assert isinstance(create(choosing(name), "job.toml"), RULES[name])


def test_options_are_the_rules():
    assert create(choosing("power-of-choice", candidates=3), "job.toml") == PowerOfChoice(candidates=3.0)
    assert create(choosing("oort", penalty=0.5), "job.toml") == Oort(penalty=0.5)


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (
            choosing("power_of_choice"),
            r"cohort.name: 'power_of_choice' is not known here; did you mean 'power-of-choice'",
        ),
        (choosing("zzz"), "known are uniform, samples, class-balance, power-of-choice, oort"),
        (choosing("oort", explore=0.1), "cohort.options.explore"),
        (choosing("uniform", candidates=2.0), "known are none"),
        (
            choosing("power-of-choice", candidates=0.5),
            "cohort.options.candidates: 0.5: expected `float` >= 1.0; correct the value",
        ),
        (choosing("class-balance", REGRESSION), "a regression has none"),
        (choosing("class-balance", {"rounds": Rounds(count=1, evaluate=0.0)}), "rounds.evaluate"),
        (
            choosing("class-balance", {"data": msgspec.structs.replace(JOB.data, holdout=Holdout(0.0))}),
            "holdout.fraction",
        ),
    ],
)
def test_what_cannot_be_is_an_error_that_helps(job, problem):
    with pytest.raises(ConfigError, match=problem):
        create(job, "job.toml")
