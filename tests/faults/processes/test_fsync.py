"""An fsync that fails is not tried again: the kernel would say yes though the data is lost. Exit; recover from disk."""

import shutil
import subprocess
from pathlib import Path

import pytest
from process_fleet import AGGREGATOR, DEVICES, Death, Fleet, Model

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler for a library whose fsync fails"),
]
VICTIM = DEVICES[1]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See failing_fsync.c."""
    path = tmp_path_factory.mktemp("library") / "failing_fsync.so"
    source = Path(__file__).with_name("failing_fsync.c")
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.mark.parametrize(
    ("name", "path", "number"),
    [
        (AGGREGATOR, ".spool", 2),
        (AGGREGATOR, "aggregator.db-wal", 6),
        (AGGREGATOR, "/models/", 3),
        (VICTIM, "/outbox/", 3),
        (VICTIM, "/.state.new", 3),
    ],
    ids=["spool", "database", "model", "outbox", "state"],
)
def test_an_fsync_that_fails_is_not_tried_again(
    name: str, path: str, number: int, fleet: Fleet, library: Path, undisturbed: list[Model]
) -> None:
    log = fleet.directory / "fsyncs"
    environment = {"LD_PRELOAD": str(library), "FSYNC_PATH": path, "FSYNC_FAILS_AT": str(number), "FSYNC_LOG": str(log)}
    fleet.start(names=[each for each in (AGGREGATOR, *DEVICES) if each != name])
    fleet.start_one(name, command=["env"], environment=environment)
    fleet.until(lambda: bool(fleet.deaths))
    assert fleet.deaths == [Death(name, 1)]
    assert "cannot be written" in fleet.log(name)
    lines = log.read_text().splitlines()
    failed = next(index for index, line in enumerate(lines) if line.startswith("failed"))
    assert lines[failed + 1 :] == []
    fleet.start_one(name)
    fleet.finish()
    assert fleet.models() == undisturbed
