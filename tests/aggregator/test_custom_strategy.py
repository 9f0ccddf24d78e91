"""examples/custom_strategy as pip would install it: found by its entry point, keeping its promises, fusing a job."""

import importlib
import tomllib

import msgspec
import numpy as np
import pytest
import tracked

from aggregator import root_set
from fedloom.errors import ConfigError
from fedloom.job import load_job
from fedloom.job.choices import StrategyChoice
from fedloom.job.rounds import Asynchronous
from strategies import ClientUpdate, UpdatesInMemory, create, create_for, names, registry
from strategies.composed import Composed

EXAMPLE = tracked.ROOT / "examples" / "custom_strategy"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put entry points where a package that pip has installed puts them, and the example's module on the path."""

    def run(**entry_points):
        packages = tmp_path / "site-packages"
        metadata = packages / "fedloom_tempered_mean-0.1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: 0.1.0\n")
        lines = [f"{name} = {value}\n" for name, value in entry_points.items()]
        (metadata / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\n{''.join(lines)}")
        monkeypatch.syspath_prepend(packages)
        monkeypatch.syspath_prepend(EXAMPLE)

    return run


@pytest.fixture
def installed(install):
    install(**PROJECT["entry-points"][registry.ENTRY_POINTS])


@pytest.fixture
def job():
    """`job(name, devices=3)`: one with that strategy."""

    def make(name, devices=3):
        read = load_job(EXAMPLE / "job.toml")
        rounds = msgspec.structs.replace(read.rounds, devices=devices)
        return msgspec.structs.replace(read, strategy=StrategyChoice(name), rounds=rounds)

    return make


def test_it_is_a_strategy_like_any_other(installed):
    assert "tempered_mean" in names()
    job = load_job(EXAMPLE / "job.toml")
    strategy = create(job.strategy, "job.toml")
    assert isinstance(strategy, Composed)
    assert (strategy.combine.power, strategy.server.server_momentum) == (0.5, 0.5)
    with pytest.raises(ConfigError, match=r"strategy\.options\.power: 2\.0: expected `float` <= 1\.0"):
        create(StrategyChoice("tempered_mean", {"power": 2.0}), "job.toml")


def test_its_own_tests_pass(installed):
    module = importlib.import_module("test_tempered_mean")
    module.test_samples_weigh_by_their_root()
    for power in (0.0, 0.5, 1.0):
        module.test_it_keeps_every_promise(power)


def test_it_fuses_a_job(installed, make_rig):
    rig = make_rig(devices=3, count=2)
    path = rig.config.job
    path.write_text(path.read_text() + '[strategy]\nname = "tempered_mean"\nserver = "momentum"\n')
    rig.boot()
    rig.ready()
    rig.work()
    before = rig.parts.core.coordinator._progress.model.weights
    rig.finish_job()
    assert rig.finished
    moved = rig.parts.core.coordinator._progress.model.weights - before
    # Three one-hot updates in each of two rounds: v = ⅓, then 0.9 / 3 + ⅓
    assert sorted(moved.tolist()) == pytest.approx([0.0, *[1 / 3 + 1.9 / 3] * 3], abs=1e-6)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("gone:Rule", "cannot be imported"),
        ("tempered_mean:Rule", "cannot be imported"),
        ("tempered_mean:weighted_sum", "is not a msgspec.Struct"),
    ],
)
def test_a_broken_package_is_named(install, value, says):
    install(tempered_mean=value)
    with pytest.raises(ConfigError, match=rf"strategy\.name: {value} of 'tempered_mean' {says}.*install"):
        create(StrategyChoice("tempered_mean"), "job.toml")


BROKEN = """
import msgspec

class Combine(msgspec.Struct):
    def combine(self, updates, size): ...

class Whole(msgspec.Struct):
    is_asynchronous = False

    def fuse(self, weights, updates, state): ...
"""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("broken:Combine", "has no is_asynchronous"),
        ("broken:Whole", "has no initial_state, plan, broadcast"),
        ("failing:Rule", r"cannot be imported \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_what_a_rule_lacks_is_told_before_the_job_begins(install, tmp_path, value, says):
    install(mine=value)
    (tmp_path / "site-packages" / "broken.py").write_text(BROKEN)
    (tmp_path / "site-packages" / "failing.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=rf"strategy\.name: {value} of 'mine' {says}.*install"):
        create(StrategyChoice("mine"), "job.toml")


RAISING = """
import msgspec
from strategies import FusionError, PlanError, State

class NoState(msgspec.Struct):
    is_asynchronous = False

    def initial_state(self, size):
        return [][size]

    def plan(self, round_number, base, state): ...
    def broadcast(self, state): ...
    def fuse(self, weights, updates, state): ...

class NoPlan(NoState):
    def initial_state(self, size):
        return State()

class BadPlan(NoPlan):
    def plan(self, round_number, base, state):
        raise FusionError("no such thing")

class UnfitPlan(NoPlan):
    def plan(self, round_number, base, state):
        raise PlanError("loss", "is 'mse'", "take another")
"""


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("NoState", r"strategy\.name: 'mine' cannot begin \(IndexError: list index .*install a version"),
        ("NoPlan", r"strategy\.name: 'mine' has a NoneType for a plan, and no TrainPlan; install a version"),
        ("BadPlan", r"strategy\.name: 'mine' cannot begin \(FusionError: no such thing\); install a version"),
        ("UnfitPlan", r"training\.loss: is 'mse'; take another"),
    ],
)
def test_a_rule_that_cannot_begin_is_named(install, tmp_path, job, rule, says):
    install(mine=f"raising:{rule}")
    (tmp_path / "site-packages" / "raising.py").write_text(RAISING)
    with pytest.raises(ConfigError, match=says):
        create_for(job("mine"), "job.toml")


COMPARING = """
from typing import ClassVar
from strategies.fedavg import Mean

class Comparing(Mean, frozen=True):
    needs_root_set: ClassVar[bool] = True
    fewest: ClassVar[int] = 3

class Buffered(Mean, frozen=True):
    is_asynchronous: ClassVar[bool] = True
    fewest: ClassVar[int] = 3

class Rolling(Mean, frozen=True):
    def combine_after(self, last, updates, size):
        return last / 2 + self.combine(updates, size)
"""


def test_what_it_needs_is_asked_for_before_the_job_begins(install, tmp_path, job):
    install(comparing="comparing:Comparing")
    (tmp_path / "site-packages" / "comparing.py").write_text(COMPARING)
    given = job("comparing")
    with pytest.raises(ConfigError, match=r"strategy\.name: 'comparing' compares .* give it some with \[root_set\]"):
        root_set.load(None, given, "job.toml")
    with pytest.raises(
        ConfigError, match=r"rounds\.devices: 2 bring 2 updates .*'comparing' with its defaults needs 3"
    ):
        create_for(job("comparing", devices=2), "job.toml")


def test_a_buffer_must_hold_what_it_needs(install, tmp_path, job):
    install(buffered="comparing:Buffered")
    (tmp_path / "site-packages" / "comparing.py").write_text(COMPARING)
    create_for(msgspec.structs.replace(job("buffered"), asynchronous=Asynchronous(buffer=3)), "job.toml")
    with pytest.raises(ConfigError, match=r"asynchronous\.buffer: 2 updates .*'buffered' .* needs 3; raise it to 3"):
        create_for(msgspec.structs.replace(job("buffered"), asynchronous=Asynchronous(buffer=2)), "job.toml")


def test_it_is_told_the_last_direction_if_it_asks_for_that(install, tmp_path):
    install(rolling="comparing:Rolling")
    (tmp_path / "site-packages" / "comparing.py").write_text(COMPARING)
    strategy = create(StrategyChoice("rolling"), "job.toml")
    given = UpdatesInMemory([ClientUpdate(bytes(16), 1, np.ones(1, np.float32))])
    weights, state = np.zeros(1, np.float32), strategy.initial_state(1)
    for expected in (1.0, 2.5, 4.25):
        weights, state = strategy.fuse(weights, given, state)
        assert weights.tolist() == [expected]
