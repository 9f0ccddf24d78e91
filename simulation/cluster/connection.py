"""To a Ray cluster: one on this machine alone that ends with the run, or one that is there already."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import ray

from fedloom.errors import InputError
from simulation.children import ONE_BLAS_THREAD, check_workers
from simulation.cluster.crew import ClusterCrew
from simulation.cluster.entry import WHERE
from simulation.cluster.reach import check_reachable
from simulation.cohort.crew import MakeCrew

log = logging.getLogger(__name__)

_LONGEST_TEMP = 30
"""Characters of a path below which Ray's sockets may lie: theirs have at most 107."""
_QUIET = logging.CRITICAL
"""What Ray tells of its own accord; what ends a run comes as an error."""


class Cluster(NamedTuple):
    """That we are connected to."""

    workers: int
    lead: str
    """Words about it."""
    make_crew: MakeCrew


@contextmanager
def connected(address: str | None, workers: int) -> Iterator[Cluster]:
    """While the context lasts. `workers` are processes, each with a CPU of the cluster; 0: as many as it has.

    `address` is HOST:PORT, "auto" for the cluster that this machine belongs to, or None for that to which this program
    is connected already, else one of our own.

    Raises:
        InputError: no cluster answers at this address, or what answers is of no use.
    """
    if address:
        with _joined(address):
            yield _cluster(f"the Ray cluster at {address}", workers, ONE_BLAS_THREAD)
    elif ray.is_initialized():
        yield _cluster("the Ray cluster that this program is connected to", workers, ONE_BLAS_THREAD)
    else:
        with _own(workers):
            yield _cluster("a Ray cluster of this machine alone", workers, {})


def _cluster(lead: str, workers: int, environment: dict[str, str]) -> Cluster:
    cpus = int(ray.cluster_resources().get("CPU", 0))
    workers = workers or max(1, cpus)
    if workers > cpus:
        log.warning("cluster.small workers=%d cpus=%d: as many work as there are CPUs for", workers, cpus)
    make_crew = partial(ClusterCrew, workers=workers, environment=environment)
    return Cluster(workers, f"{workers} workers on {lead}", make_crew)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    if ray.is_initialized():
        problem, remedy = "this program is connected to a cluster already", "leave it out, or call ray.shutdown()"
        raise InputError(WHERE, "--address", f"{address}: {problem}", remedy)
    check_reachable(address, WHERE)
    try:
        ray.init(address, log_to_driver=False, logging_level=_QUIET)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own(workers: int) -> Iterator[None]:
    check_workers(workers, WHERE)
    place = "/tmp" if len(tempfile.gettempdir()) > _LONGEST_TEMP else None  # noqa: S108 - where the name is made is safe
    with tempfile.TemporaryDirectory(prefix="fedloom-", dir=place, ignore_cleanup_errors=True) as directory:
        try:
            with _inherited(ONE_BLAS_THREAD):
                ray.init(
                    "local",
                    num_cpus=workers or len(os.sched_getaffinity(0)),
                    num_gpus=0,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=_QUIET,
                    _temp_dir=directory,
                )
            yield
        finally:
            ray.shutdown()


@contextmanager
def _inherited(environment: dict[str, str]) -> Iterator[None]:
    """Processes that are started meanwhile have this environment: Ray's own, and so their workers, when they begin."""
    before = {name: os.environ.pop(name, None) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
