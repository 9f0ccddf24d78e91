"""examples/custom_strategy as pip would install it: found by its entry point, keeping its promises, fusing a job."""

import importlib
import tomllib

import pytest
import tracked

from fedloom.errors import ConfigError
from fedloom.job import load_job
from fedloom.job.choices import StrategyChoice
from strategies import create, names, registry
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
