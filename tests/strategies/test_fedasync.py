"""Asynchronous mixing, by hand."""

import pytest

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from strategies import create
from strategies.fedasync import MixedIn


def test_a_fresh_update_is_mixed_in(fuse_rounds, update):
    # (1 − ½)·0 + ½·4, then (1 − ½)·2 + ½·(2 + 4)
    assert fuse_rounds("fedasync", [[update(1, [4.0])]] * 2, mixing=0.5) == [[2.0], [4.0]]


def test_a_stale_one_less(fuse_rounds, update):
    # s(3) = 4^−½ = ½
    assert fuse_rounds("fedasync", [[update(1, [4.0], staleness=3)]], mixing=0.5) == [[1.0]]


def test_those_of_a_buffer_are_each_mixed_in_and_averaged(fuse_rounds, update):
    given = [update(1, [4.0], 10), update(2, [4.0], 30, staleness=3)]
    assert fuse_rounds("fedasync", [given], mixing=0.5) == [[1.5]]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MixedIn(staleness="constant"), {0: 1.0, 100: 1.0}),
        (MixedIn(polynomial_a=1.0), {0: 1.0, 1: 1 / 2, 3: 1 / 4}),
        (MixedIn(staleness="hinge"), {0: 1.0, 4: 1.0, 5: 1 / 11, 6: 1 / 21}),
        (MixedIn(staleness="hinge", hinge_a=1.0, hinge_b=0), {0: 1.0, 1: 1 / 2, 2: 1 / 3}),
    ],
)
def test_trust_falls_with_staleness(rule, expected):
    assert {staleness: rule.trust(staleness) for staleness in expected} == expected


@pytest.mark.parametrize(
    "options", [{"mixing": 0.0}, {"mixing": 1.1}, {"staleness": "linear"}, {"polynomial_a": 0.0}, {"hinge_b": -1}]
)
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"strategy\.options\.{name}: {options[name]!r}: "):
        create(StrategyChoice("fedasync", options), "job.toml", is_asynchronous=True)
