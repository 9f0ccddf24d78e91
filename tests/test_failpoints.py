"""What FEDLOOM_FAIL may say, what it does, and that each failpoint stands at one place and in its page."""

import errno
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.cli import main as edge_main
from fedloom import failpoints
from fedloom.command import main
from fedloom.errors import ConfigError
from fedloom.failpoints import NAMES, Rule, arm, failpoint, parse

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fedloom", "edge_client", "aggregator", "strategies", "simulation")
SHELLS = {"effects", "outbox", "shell", "join", "service", "archive", "spool", "store", "database"}


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_every_deed_is_understood() -> None:
    text = "device.trained:kill,aggregator.fused:delay=1.5@2,,aggregator.quorum:error@10"
    assert parse(text) == {
        "device.trained": Rule("kill", 0.0, 0),
        "aggregator.fused": Rule("delay", 1.5, 2),
        "aggregator.quorum": Rule("error", 0.0, 10),
    }
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("device.trained", "'device.trained'; write name:kill"),
        ("device.trained:explode", "write name:kill, name:error, name:stop or name:delay=0.5"),
        ("device.trained:kill@0", "write name:kill"),
        ("device.trainedd:kill", "is not a failpoint; did you mean 'device.trained'?"),
        ("nothing-like-it:kill", "there are: device.keys-written, device.enrolment-sent"),
        ("device.trained:kill,device.trained:error", "is there twice"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_rules_or_a_mistake(text: str) -> None:
    try:
        rules = parse(text)
    except ConfigError:
        return
    assert set(rules) <= set(NAMES)


def test_an_error_comes_the_time_that_it_was_asked_for() -> None:
    arm("device.trained:error@2")
    failpoint("device.trained")
    failpoint("device.outbox-stored")
    with pytest.raises(OSError, match=r"failpoint device\.trained") as caught:
        failpoint("device.trained")
    assert caught.value.errno == errno.EIO
    failpoint("device.trained")


def test_a_delay_waits() -> None:
    arm("device.trained:delay=0.05")
    began_s = time.monotonic()
    failpoint("device.trained")
    assert time.monotonic() - began_s >= 0.05


def test_a_kill_leaves_no_time_for_anything() -> None:
    code = "from fedloom import failpoints as f; f.arm('device.trained:kill'); f.failpoint('device.trained'); print(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (-9, b"")


@pytest.mark.parametrize(
    ("command", "arguments"), [(main, ["job", "check", "x"]), (edge_main, ["check", "--config", "x"])]
)
def test_both_commands_refuse_a_mistake_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: object, arguments: list[str]
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "device.trainde:kill")
    assert callable(command)
    assert command(arguments) == 2
    assert "did you mean 'device.trained'?" in capsys.readouterr().err


def test_unset_it_costs_next_to_nothing() -> None:
    """About 50 ns a call; the bound is for a machine that does much else."""
    calls = 20_000
    began_s = time.perf_counter()
    for _ in range(calls):
        failpoint("device.training")
    assert (time.perf_counter() - began_s) / calls < 5e-6


def test_each_stands_at_one_place_in_a_shell() -> None:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    found = [(name, path.stem) for path in paths for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())]
    assert sorted(name for name, _ in found) == sorted(NAMES)
    assert {file for _, file in found} <= SHELLS


def test_the_page_has_them_all_in_their_order() -> None:
    page = (ROOT / "docs" / "failpoints.md").read_text()
    assert tuple(re.findall(r"^\| `([a-z.-]+)` \|", page, re.MULTILINE)) == NAMES
