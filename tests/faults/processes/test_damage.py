"""A bit that a disk has flipped: mended from what is sound, or told with the command that mends it."""

from pathlib import Path

import pytest
from process_fleet import AGGREGATOR, DEVICES, Fleet, Model, is_stopped

pytestmark = pytest.mark.broker
VICTIM = DEVICES[1]


def kill_at(fleet: Fleet, name: str, failpoint: str) -> None:
    """Start all; SIGKILL to one of them where it stands."""
    fleet.start({name: [failpoint]})
    pid = fleet.members[name].pid
    fleet.until(lambda: is_stopped(pid))
    fleet.members.pop(name).end()


def flip(path: Path) -> None:
    """One bit, which leaves a digit a digit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("version", [0, 1])
def test_an_aggregator_mends_its_newest_model_at_the_start(
    version: int, fleet: Fleet, undisturbed: list[Model]
) -> None:
    """Fused again from the spool: the first by the round of statistics, the second by that of training."""
    kill_at(fleet, AGGREGATOR, f"aggregator.round-committed:stop@{version + 2}")
    (path,) = fleet.state(AGGREGATOR).glob(f"models/*/v{version:04d}.fedloom")
    flip(path)
    fleet.start_one(AGGREGATOR)
    fleet.finish()
    assert fleet.models() == undisturbed
    assert f"model.recomputed version={version}" in fleet.log(AGGREGATOR)
    assert path.with_name(f"{path.name}.damaged-1").exists()


@pytest.mark.parametrize("name", ["state/state", "keys/incarnation"])
def test_a_device_says_which_command_mends_it_and_goes_on_after_that(
    name: str, fleet: Fleet, undisturbed: list[Model]
) -> None:
    """Its update is in the round already, so that nothing is lost with its state."""
    kill_at(fleet, VICTIM, "device.receipt-came:stop@1")
    path = fleet.directory / VICTIM / name
    flip(path)
    refused = fleet.run("refused", ["fedloom-edge", "run", "--config", str(fleet.directory / VICTIM / "edge.toml")])
    refused.wait()
    assert refused.status == 1
    assert f"{path}: " in fleet.log("refused")
    assert "fedloom-edge repair --config" in fleet.log("refused")
    mended = ["fedloom-edge", "repair", "--yes", "--config", str(fleet.directory / VICTIM / "edge.toml")]
    repaired = fleet.run("repaired", mended)
    repaired.wait()
    assert repaired.status == 0, fleet.log("repaired")
    assert path.with_name(f"{path.name}.damaged-1").exists()
    fleet.start_one(VICTIM)
    fleet.finish()
    assert fleet.models() == undisturbed
