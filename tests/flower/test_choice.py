"""What a job may not say about a strategy of Flower, and what it is told then."""

import peer_loop
import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create


def refusal(name, options=None, **parts):
    with pytest.raises(ConfigError) as caught:
        create(StrategyChoice(f"flwr:{name}", options or {}, **parts), "job.toml", layout=peer_loop.LAYOUT)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("FedAvgg", "did you mean 'flwr:FedAvg'?"),
        ("Nothing", "known are Bulyan, FedAdagrad"),
        ("FedXgbCyclic", "no strategy 'FedXgbCyclic' that a job can use"),
        ("no_such_package:Class", "put it on PYTHONPATH"),
        ("own_strategies:NoSuchClass", "put it on PYTHONPATH"),
        ("json:loads", "derive it from one"),
        ("own_strategies:deque", "derive it from one"),
    ],
)
def test_the_name(name, says):
    assert says in refusal(name)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("FedAdam", {"etta": 0.1}, "strategy.options.etta: is not an option of this strategy; did you mean 'eta'?"),
        ("FedAdam", {"eta": "much"}, "strategy.options.eta: Expected `float`, got `str`"),
        ("FedAvg", {"min_train_nodes": 3}, "a job says that with rounds.cohort and rounds.quorum; leave it out"),
        ("FedAvg", {"fraction_evaluate": 0.5}, "a job says that with rounds.evaluate"),
        ("Bulyan", {"selection_rule": "krum"}, "takes code, which a job file does not hold"),
        ("QFedAvg", {}, "strategy.options.client_learning_rate: is missing"),
        ("own_strategies:Decaying", {"weighted_by": "x"}, "did you mean 'weighted_by_key'?"),
        ("own_strategies:Telling", {"key": "learning-rte", "value": 0.1}, "did you mean 'learning-rate'?"),
        ("own_strategies:Telling", {"key": "learning-rate", "value": 0}, "Expected `float` > 0.0"),
        ("own_strategies:Telling", {"key": "correction", "value": 0}, "tells the devices 'correction'"),
        ("own_strategies:Telling", {"key": "colour", "value": 0}, "a job's devices train as its plan says"),
    ],
)
def test_its_options(name, options, says):
    assert says in refusal(name, options)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Secretive", "attribute 'window' of Secretive cannot be kept from round to round (a collections.deque)"),
        ("Broken", "RuntimeError: no licence"),
        ("Leaving", "SystemExit: no licence"),
        ("Slotted", "Slotted has count in __slots__, which cannot be kept from round to round; leave __slots__ out"),
        ("Patient", "waits for nodes"),
        ("Talking", "talks to nodes itself"),
        ("Uneven", "sends each device something of its own"),
    ],
)
def test_what_a_strategy_of_ones_own_cannot_do_in_a_job(name, says):
    assert says in refusal(f"own_strategies:{name}")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_told(tmp_path, monkeypatch, code, says):
    (tmp_path / "failing_strategies.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert f"strategy.name: 'failing_strategies:A' cannot be imported ({says}" in refusal("failing_strategies:A")


def test_a_module_needs_a_name():
    assert "strategy.name: ':A' cannot be imported (ValueError: Empty module name)" in refusal(":A")


def test_it_stands_alone():
    assert "strategy.server: 'flwr:FedAvg' is a rule of its own" in refusal("FedAvg", server="sgd")
    assert "strategy.before: 'flwr:FedAvg' is a rule of its own" in refusal("FedAvg", before=("clip",))
    with pytest.raises(ConfigError, match="knows nothing of stale updates"):
        create(StrategyChoice("flwr:FedAvg"), "job.toml", is_asynchronous=True)
