"""Ray actors: the same numbers however many there are, and whichever of them die."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import ray
from federations import WHERE, job, population, run
from threadpoolctl import threadpool_info

from fedloom.job import Job
from simulation.cluster import crew as module
from simulation.cluster.connection import Cluster
from simulation.cluster.crew import ClusterCrew
from simulation.cohort import cutting
from simulation.cohort.crew import MakeCrew
from simulation.cohort.federation import Federation
from simulation.cohort.hands import CrewError
from simulation.cohort.preparing import context_of
from simulation.cohort.task import AnyTask, Common, Context, Outcome
from simulation.population.base import Population
from strategies.base import Matrix

pytestmark = pytest.mark.usefixtures("cluster")

NOTHING = [cutting.TestTask(0, 1)]
HALF = {"count": 3, "cohort": 0.5}
ASKING = job(
    update={"encoding": "int8"},
    strategy={"name": "scaffold"},
    training={"optimiser": "sgd", "batch_size": 4},
    rounds=HALF,
)
JOBS = {
    "scaffold, int8": ASKING,
    "feddyn, ditto, topk": job(
        strategy={"name": "feddyn"},
        personal={"method": "ditto", "strength": 0.1},
        update={"encoding": "topk"},
        rounds=HALF,
    ),
    "head, standardised": job(personal={"method": "head"}, data={"standardise": True}, rounds=HALF),
}


@pytest.fixture(autouse=True)
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three clients."""
    monkeypatch.setattr(cutting, "largest_group", lambda *_: 3)
    monkeypatch.setattr(cutting, "_CHUNK_FLOP", 1.0)


def crew(workers: int) -> MakeCrew:
    return partial(ClusterCrew, workers=workers)


def same(given: Job, make_crew: MakeCrew, people: Population | None = None) -> None:
    """To the bit, as one process alone."""
    people = people or population(40)
    alone, there = run(given, people), run(given, people, make_crew)
    assert there.model.weights.tobytes() == alone.model.weights.tobytes()
    assert there.history.metrics == alone.history.metrics
    assert there.history.update_bytes == alone.history.update_bytes


def test_the_last_model_is_tested_where_nobody_evaluates() -> None:
    people = population(8)
    people.test = population(1, seed=9).pool
    same(job(rounds={"count": 1, "evaluate": 0.0}), crew(2), people)


@pytest.mark.parametrize(("name", "workers"), list(zip(JOBS, (1, 2, 4), strict=True)))
def test_they_give_the_bits_of_one_process(name: str, workers: int, cluster: Cluster) -> None:
    """One for whom there is no CPU keeps nobody waiting."""
    assert cluster.workers == 2
    same(JOBS[name], crew(workers))


def pids(crew: ClusterCrew) -> list[int]:
    """Of its workers."""
    return cast("list[int]", ray.get([hand.__ray_call__.remote(lambda _: os.getpid()) for hand in crew._hands]))


class Dying(ClusterCrew):
    """All its workers are killed once, in the middle of the first round."""

    killed = 0

    def run(self, common: Common, tasks: Sequence[AnyTask], deltas: Matrix) -> Iterator[Outcome]:
        them = [] if self.killed else pids(self)
        for outcome in super().run(common, tasks, deltas):
            for pid in them:
                os.kill(pid, signal.SIGKILL)
            self.killed, them = self.killed + len(them), []
            yield outcome


def test_what_killed_workers_were_at_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    crews: list[Dying] = []

    def make(context: Context) -> Dying:
        crews.append(Dying(context, 2))
        return crews[0]

    same(ASKING, make)
    assert crews[0].killed == 2
    again = [record.getMessage() for record in caplog.records]
    assert len(again) == 2, again
    assert all(text.startswith("worker.lost again=1: round 1, task ") for text in again), again


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_LOSSES", 2)


def broken(people: Population, holdout: object) -> Federation:
    """Its workers do not find hold-outs."""
    federation = Federation(job(), WHERE, people, crew(1))
    people.holdout = holdout  # type: ignore[method-assign, assignment]
    return federation


@pytest.mark.usefixtures("_impatient")
def test_workers_that_are_lost_over_the_same_clients_end_the_run() -> None:
    federation = broken(population(), lambda _: os._exit(3))
    with pytest.raises(
        CrewError, match=r"2 workers were lost over the same clients, the last one so: .*lower --workers"
    ):
        list(federation.run())


def test_what_a_worker_cannot_do_is_told() -> None:
    with pytest.raises(
        CrewError, match="a chunk of clients cannot be trained: TypeError: 'NoneType' object is not call"
    ):
        list(broken(population(), None).run())


@pytest.mark.usefixtures("_impatient")
def test_workers_that_cannot_begin_end_the_run() -> None:
    nothing = cast("Context", None)
    message = "2 workers were lost before they were ready, the last one so: AttributeError: 'NoneType' object has no"
    with ClusterCrew(nothing, 1) as them, pytest.raises(CrewError, match=message):
        list(them.run(cast("Common", None), NOTHING, them.matrix(0, 0)))


def test_a_cluster_without_a_free_cpu_is_told(cluster: Cluster) -> None:
    with ClusterCrew(context(), cluster.workers) as them:
        assert len(set(pids(them))) == cluster.workers
        with (
            ClusterCrew(context(), 1, start_timeout_s=0.1) as others,
            pytest.raises(CrewError, match="started no worker"),
        ):
            list(others.run(cast("Common", None), NOTHING, others.matrix(0, 0)))


def test_workers_have_one_thread_and_their_environment_and_end_with_their_crew() -> None:
    def seen(_: object) -> tuple[str | None, list[int], int]:  # here, as a worker cannot import this file
        import os

        return os.environ.get("FEDLOOM_TEST"), [each["num_threads"] for each in threadpool_info()], os.getpid()

    with ClusterCrew(context(), 1, {"FEDLOOM_TEST": "yes"}) as them:
        (hand,) = them._hands
        variable, threads, pid = ray.get(hand.__ray_call__.remote(seen))
        assert variable == "yes"
        assert threads == [1]
        assert Path(f"/proc/{pid}").exists()
    deadline_s = time.monotonic() + 10.0
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def context() -> Context:
    return context_of(job(), population(), None)
