"""A device that is killed while it joins goes on with the same command, the same keys, and as one device."""

import signal
from pathlib import Path

import pytest
from process_fleet import AGGREGATOR, Fleet

pytestmark = pytest.mark.broker
NEW = "device-new"


def token(fleet: Fleet) -> str:
    config = str(fleet.directory / AGGREGATOR / "aggregator.toml")
    made = fleet.run("token", ["fedloom", "token", "new", "--name", NEW, "--config", config])
    made.wait()
    assert made.status == 0, fleet.log("token")
    return (fleet.directory / "token.out").read_text().strip()


def keys(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (directory / "keys").iterdir() if each.suffix == ".key"}


@pytest.mark.parametrize("name", ["device.keys-written", "device.enrolment-sent"])
def test_killed_while_joining(name: str, fleet: Fleet) -> None:
    fleet.start(names=[AGGREGATOR])
    directory = fleet.directory / NEW
    command = ["fedloom-edge", "join", token(fleet), "--dir", str(directory), "--timeout", "30"]
    first = fleet.run(NEW, command, fail=f"{name}:kill")
    first.wait()
    assert first.status == -signal.SIGKILL
    before = keys(directory)
    assert before
    assert not (directory / "keys" / "credential").exists()
    second = fleet.run(NEW, command)
    second.wait()
    assert second.status == 0, fleet.log(NEW)
    assert keys(directory) == before
    assert (directory / "keys" / "credential").exists()
    fleet.members.pop(AGGREGATOR).end()
    assert fleet.rows(f"select count(*) from devices where name = '{NEW}'") == [(1,)]


def test_an_error_of_the_disk_while_joining(fleet: Fleet) -> None:
    fleet.start(names=[AGGREGATOR])
    command = ["fedloom-edge", "join", token(fleet), "--dir", str(fleet.directory / NEW), "--timeout", "30"]
    first = fleet.run(NEW, command, fail="device.keys-written:error")
    first.wait()
    assert first.status == 1
    assert "cannot be written (Input/output error)" in fleet.log(NEW)
    second = fleet.run(NEW, command)
    second.wait()
    assert second.status == 0, fleet.log(NEW)
