"""How many attackers are assumed where a pre-step puts updates together; and jobs whose rounds would bring too few."""

import numpy as np
import pytest
from directions import direction, normal, updates

from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.job.choices import StrategyChoice
from fedloom.job.data import Data
from fedloom.job.rounds import Rounds
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from strategies import FusionError, create, create_for
from strategies.attackers import Tolerance
from strategies.composed import prepared


def job_with(devices, name, before=(), cohort=1.0, **options):
    return Job(
        name="line",
        model=ModelSpec(inputs=1, outputs=1),
        data=Data(features=("x",), target="y"),
        training=TrainPlan(loss="mse"),
        rounds=Rounds(count=1, devices=devices, cohort=cohort),
        strategy=StrategyChoice(name, options, before=before),
    )


def handed_on(count, *before, **options):
    parts = create(StrategyChoice("fedavg", options, before=before), "job.toml").before
    return prepared(updates(normal(1, count)), parts, 6)


@pytest.mark.parametrize("before", [(), ("clip_norm",), ("nearest_neighbour_mixing",), ("clip_norm", "bucketing")])
def test_what_is_handed_on_tells_how_many_the_round_has(before):
    assert handed_on(21, *before).received == 21


@pytest.mark.parametrize(
    ("bucket_size", "assumed"),
    [(1, 12), (2, 8), (3, 5)],  # 3/10 of 40, of 40; what krum withstands of 20 and 14 buckets: (n − 3) / 2
)
def test_three_in_ten_of_the_updates_are_assumed_and_not_of_the_buckets(bucket_size, assumed):
    given = handed_on(40, "bucketing", bucket_size=bucket_size)
    assert Tolerance("krum", per_attacker=2, besides=3).assumed(None, given) == assumed


def test_a_trimmed_mean_of_buckets_takes_away_as_many_as_devices_may_spoil():
    rows = normal(3, 20)
    bucketed = direction("trimmed_mean", rows, ("bucketing",))
    assert bucketed.tobytes() == direction("trimmed_mean", rows, ("bucketing",), beta=0.4).tobytes()  # 4 of 10 buckets
    assert bucketed.tobytes() != direction("trimmed_mean", rows, ("bucketing",), beta=0.3).tobytes()


def test_attackers_that_spoil_four_of_ten_buckets_do_not_move_it():
    honest = normal(5, 16)
    rows = np.concatenate((honest, np.full((4, 6), 1e6, np.float32)))
    assert np.linalg.norm(direction("trimmed_mean", rows, ("bucketing",))) < np.linalg.norm(honest, axis=1).max()


def test_too_few_buckets_are_told_in_updates():
    direction("krum", normal(1, 13), ("bucketing",), f=2)
    with pytest.raises(FusionError, match=r"among 7 updates.*here are 6, made of 12; lower .*min_updates to 13"):
        direction("krum", normal(1, 12), ("bucketing",), f=2)


@pytest.mark.parametrize(
    ("name", "before", "options", "fewest"),
    [
        ("krum", (), {"f": 2}, 7),
        ("multi_krum", (), {"f": 1}, 5),
        ("multi_krum", (), {"kept": 9}, 9),
        ("bulyan", (), {"f": 2}, 11),
        ("trimmed_mean", (), {"f": 2}, 5),
        ("median", ("nearest_neighbour_mixing",), {"f": 2}, 5),
        ("krum", ("clip_norm", "bucketing"), {"f": 2, "bucket_size": 3}, 19),
        ("median", ("nearest_neighbour_mixing", "bucketing"), {"f": 4}, 9),
    ],
)
def test_a_job_is_refused_exactly_where_its_devices_are_too_few_for_a_round(name, before, options, fewest):
    strategy = create_for(job_with(fewest, name, before, **options), "job.toml")
    weights, state = np.zeros(6, np.float32), strategy.initial_state(6)
    strategy.fuse(weights, updates(normal(1, fewest)), state)
    with pytest.raises(FusionError):
        strategy.fuse(weights, updates(normal(1, fewest - 1)), state)
    few = fewest - 1
    with pytest.raises(
        ConfigError,
        match=rf"rounds\.devices: {few} bring {few} .*'{name}' with .* needs {fewest}; raise it to {fewest}",
    ) as refused:
        create_for(job_with(few, name, before, **options), "job.toml")
    assert refused.value.field == "rounds.devices"


def test_a_cohort_counts():
    create_for(job_with(25, "krum", cohort=0.25, f=2), "job.toml")  # ⌈6.25⌉ = 7
    with pytest.raises(ConfigError, match=r"rounds\.devices: 24 bring 6 updates .* f = 2 needs 7; raise it to 25 "):
        create_for(job_with(24, "krum", cohort=0.25, f=2), "job.toml")


@pytest.mark.parametrize("name", ["krum", "bulyan", "trimmed_mean"])
def test_without_a_number_of_attackers_any_job_may_begin(name):
    create_for(job_with(1, name, ("bucketing",)), "job.toml")
