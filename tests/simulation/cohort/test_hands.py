"""Worker processes: the same numbers however many there are, and whichever of them die."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from multiprocessing.connection import Pipe
from pathlib import Path

import numpy as np
import pytest
from federations import WHERE, job, population, run

from simulation.cohort import cutting, hands
from simulation.cohort.crew import MakeCrew
from simulation.cohort.federation import Federation
from simulation.cohort.hands import CrewError, Hands, Link
from simulation.cohort.kernels import Backend
from simulation.cohort.orders import Order
from simulation.cohort.task import Context, Task

ASKING = {
    "update": {"encoding": "int8"},
    "strategy": {"name": "scaffold"},
    "training": {"optimiser": "sgd", "batch_size": 4},
    "rounds": {"count": 2, "cohort": 0.5},
}


def workers(count: int) -> MakeCrew:
    return partial(Hands, workers=count)


class Dying(Hands):
    """The worker that gets the fourth task is killed over it: it has had it, and cannot have answered."""

    def __init__(self, context: Context, workers: int) -> None:
        super().__init__(context, workers)
        self.chunks: list[int] = []
        """Of the tasks that were sent."""

    def _send(self, link: Link, order: Order) -> bool:
        if not (isinstance(order, Order) and isinstance(order.task, Task)):
            return super()._send(link, order)
        self.chunks.append(order.task.chunk)
        if len(self.chunks) != 4:
            return super()._send(link, order)
        process = next(hand.process for hand in self._hands if hand.link is link)
        process.send_signal(signal.SIGSTOP)
        was_sent = super()._send(link, order)
        process.kill()
        return was_sent


@pytest.fixture
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two clients."""
    monkeypatch.setattr(cutting, "largest_group", lambda *_: 2)
    monkeypatch.setattr(cutting, "_CHUNK_FLOP", 1.0)


@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_worker_and_two_give_the_same_bits_as_none(backend: Backend) -> None:
    given, people = job(**ASKING), population(40)
    alone = run(given, people, backend=backend)
    for count in (1, 2):
        federation = run(given, people, workers(count), backend)
        assert federation.model.weights.tobytes() == alone.model.weights.tobytes()
        assert federation.history.metrics == alone.history.metrics


@pytest.mark.usefixtures("_many_chunks")
def test_a_killed_workers_chunks_are_done_again() -> None:
    given, people = job(**ASKING), population(40)
    crews: list[Dying] = []

    def make(context: Context) -> Dying:
        crews.append(Dying(context, 2))
        return crews[0]

    federation = run(given, people, make)
    first_round = crews[0].chunks[:11]  # 20 clients, and one chunk twice
    assert sorted(first_round) == sorted([*range(10), first_round[3]])
    assert federation.model.weights.tobytes() == run(given, people).model.weights.tobytes()


def test_workers_that_die_over_the_same_clients_end_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nexit 3\n")
    dying.chmod(0o755)
    monkeypatch.setattr(hands.sys, "executable", str(dying))
    with pytest.raises(CrewError, match="3 worker processes ended over the same clients, the last one with status 3"):
        run(job(), make_crew=workers(1))


def test_a_worker_that_dies_in_the_middle_of_its_answer_is_as_dead() -> None:
    ours, theirs = Pipe()
    os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"not a hundred bytes")
    theirs.close()
    with ours:
        assert hands.received(ours) is None


TINY = """
import sys; sys.path.insert(0, {folder!r})
from functools import partial
from pathlib import Path
from federations import job, population, run
from simulation.cohort.hands import Hands

given = job(model={{"hidden": [2000]}}, rounds={{"count": 2, "cohort": 0.5, "evaluate": 0.0}})
people = population(80)
alone, two = run(given, people), run(given, people, partial(Hands, workers=2))
assert 40 * 4 * alone.model.weights.size > 1 << 20, "it would have had room"
assert alone.model.weights.tobytes() == two.model.weights.tobytes()
"""


def in_a_tiny_memory(*command: str) -> list[str]:
    """In a mount namespace of its own, where /dev/shm has 1 MiB."""
    mount = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    return ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c", mount, "sh", *command]


def may_mount() -> bool:
    try:
        return subprocess.run(in_a_tiny_memory("true"), capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


THREADS = """
import sys; sys.path.insert(0, {folder!r})
from functools import partial
from federations import job, population, run
from simulation.cohort.hands import Hands
from threadpoolctl import threadpool_info

given = job(model={{"hidden": [300, 1000]}}, rounds={{"count": 1, "evaluate": 0.0}})
people, before = population(9), threadpool_info()
alone, two = run(given, people), run(given, people, partial(Hands, workers=2))
assert threadpool_info() == before, "the caller's threads are not what they were"
print(alone.model.weights.tobytes() == two.model.weights.tobytes())
"""


def test_blas_threads_change_no_bit_of_a_large_model() -> None:
    """Of 300,000 weights, of which threads add up each a part."""
    program, two = THREADS.format(folder=str(Path(__file__).parent)), os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=two, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.skipif(not may_mount(), reason="needs a mount namespace (Linux, root or user namespaces)")
def test_deltas_that_have_no_room_in_shared_memory_lie_in_a_temporary_file() -> None:
    program = TINY.format(folder=str(Path(__file__).parent))
    command = in_a_tiny_memory(sys.executable, "-c", program)
    # not tmp_path: it may lie in /dev/shm, which is another one there
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        done = subprocess.run(command, env=os.environ | {"TMPDIR": folder}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("memory.elsewhere") == 1
        assert folder in done.stderr
        assert not list(Path(folder).iterdir())


def test_what_a_worker_cannot_do_is_told() -> None:
    people = population()
    people.pool = people.pool._replace(y=people.pool.y.astype(np.int64))
    federation = Federation(job(), WHERE, people, workers(1))
    people.holdout = None  # type: ignore[method-assign, assignment]
    with pytest.raises(CrewError, match="a chunk of clients cannot be trained: TypeError"):
        list(federation.run())


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    folder = str(Path(__file__).parent)
    script.write_text(
        f"import sys; sys.path.insert(0, {folder!r})\n"
        "from functools import partial\n"
        "from federations import WHERE, job, population\n"
        "from simulation.cohort.federation import Federation\n"
        "from simulation.cohort.hands import Hands\n"
        "class Told(Hands):\n"
        "    def run(self, *given):\n"
        "        print(*self.processes, flush=True)\n"
        "        return super().run(*given)\n"
        "asked = job(rounds={'count': 1_000_000})\n"
        "for _ in Federation(asked, WHERE, population(), partial(Told, workers=2)).run(): pass\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        parent.wait()
    assert len(pids) == 2
    deadline_s = time.monotonic() + 10.0
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_worker_outlives_its_crew() -> None:
    crews: list[Hands] = []
    pids: list[int] = []

    def make(context: Context) -> Hands:
        crews.append(Hands(context, 2))
        return crews[0]

    federation = Federation(job(), WHERE, population(), make)
    for notice in federation.run():
        pids = pids or (crews[0].processes if crews else [])
        assert notice
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
