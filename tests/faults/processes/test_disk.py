"""A disk that is full, limited or read-only: nothing is acknowledged that is not durable; once repaired, it goes on."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_fleet import AGGREGATOR, DEVICES, Death, Fleet, Model, is_stopped

pytestmark = [pytest.mark.broker, pytest.mark.slow]
VICTIM = DEVICES[1]
Mount = Callable[[Fleet, str, str], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """`mount(fleet, member, options)`: a file system of its own for a member's state; returns where."""
    mounted: list[Path] = []

    def make(fleet: Fleet, name: str, options: str) -> Path:
        if os.geteuid() != 0:
            pytest.skip("only root may mount a file system of its own")
        state = fleet.state(name)
        state.mkdir(mode=0o700, exist_ok=True)
        before = state.with_name("before")
        state.rename(before)
        state.mkdir(mode=0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", state], check=False)
        if done.returncode:
            pytest.skip("no file system can be mounted here")
        mounted.append(state)
        subprocess.run(["cp", "-a", f"{before}/.", state], check=True)
        return state

    yield make
    for state in mounted:
        subprocess.run(["umount", "-l", state], check=True)


def fill(state: Path) -> Path:
    """Leave no byte."""
    path = state / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def told_error(fleet: Fleet, name: str) -> str:
    """The one line that the process ended with."""
    errors = [line for line in fleet.log(name).splitlines() if ": error: " in line]
    assert len(errors) == 1, fleet.log(name)
    assert "Traceback" not in fleet.log(name)
    return errors[0]


@pytest.mark.parametrize(("name", "file_bytes"), [(VICTIM, 256), (AGGREGATOR, 40_000), (AGGREGATOR, 4096)])
def test_files_that_may_not_grow(name: str, file_bytes: int, fleet: Fleet, undisturbed: list[Model]) -> None:
    fleet.start(names=[each for each in (AGGREGATOR, *DEVICES) if each != name])
    fleet.start_one(name, file_bytes=file_bytes)
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [Death(name, 1)]
    assert "cannot be" in told_error(fleet, name)
    fleet.start_one(name)
    fleet.finish()
    assert fleet.models() == undisturbed


@pytest.mark.parametrize(
    ("name", "at"),
    [
        (VICTIM, "device.manifest-received"),
        (VICTIM, "device.trained"),
        (AGGREGATOR, "aggregator.round-committed"),
        (AGGREGATOR, "aggregator.message-verified"),
        (AGGREGATOR, "aggregator.quorum"),
    ],
)
def test_a_disk_that_is_full(name: str, at: str, fleet: Fleet, mount: Mount, undisturbed: list[Model]) -> None:
    """It fills up at this point; room is made, and the service manager starts the process again."""
    state = mount(fleet, name, "size=2m")
    fleet.start({name: [f"{at}:stop@1"]})
    stopped = fleet.members[name].pid
    fleet.until(lambda: is_stopped(stopped))
    filler = fill(state)
    os.kill(stopped, signal.SIGCONT)
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [Death(name, 1)]
    assert "cannot be written" in told_error(fleet, name)
    filler.unlink()
    fleet.start_one(name)
    fleet.finish()
    assert fleet.models() == undisturbed


@pytest.mark.parametrize("name", [VICTIM, AGGREGATOR])
def test_a_state_directory_that_is_read_only(name: str, fleet: Fleet, mount: Mount, undisturbed: list[Model]) -> None:
    state = mount(fleet, name, "size=8m")
    subprocess.run(["mount", "-o", "remount,ro", state], check=True)
    fleet.start()
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [Death(name, 1)]
    assert "Read-only file system" in told_error(fleet, name)
    subprocess.run(["mount", "-o", "remount,rw", state], check=True)
    fleet.start_one(name)
    fleet.finish()
    assert fleet.models() == undisturbed
