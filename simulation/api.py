"""The Python API: what `fedloom.simulate` is."""

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from os import PathLike
from pathlib import Path

from rich.console import Console

from aggregator.runnable import check_runnable
from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.job.variants import variant
from fedloom.sweep import Settings, Value
from simulation.cluster.entry import connect
from simulation.cohort.kernels import Choice
from simulation.history import History
from simulation.options import Engine, check_options
from simulation.progress import follow
from simulation.running import Order, run_processes
from simulation.spread import client_figures
from simulation.virtual import federation

_WHERE = "fedloom.simulate"


def simulate(
    job: Job | Path | str,
    *,
    engine: Engine = "cohort",
    where: Path | str | None = None,
    data: Path | str | None = None,
    root_set: Path | str | None = None,
    workers: int = 0,
    backend: Choice = "auto",
    address: str | None = None,
    rounds: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Value] | None = None,
    progress: bool = False,
) -> History:
    """Run a job over simulated clients.

    Args:
        job: the job, or its file.
        engine: `cohort`, virtual clients; `ray`, these on a Ray cluster; `processes`, a daemon each, with a broker.
        where: the file beside which the job's data is; default: its own, or any in the current directory.
        data: the folder with a file a client, where the job names no data set; default: data beside the job.
        root_set: a file with the aggregator's own samples, for a strategy that needs some.
        workers: processes of engines `cohort` and `ray`; 0: as many as it is worth, or as the cluster has CPUs.
        address: of engine `ray`'s cluster, HOST:PORT or `auto`; default: that to which this program is connected, or
            one of this machine alone.
        backend: what the products of the same engines are computed with: `numpy`; `numba`, a compiled kernel, which
            takes a second to load; `torch`, on a GPU where there is one; `auto`: numba in long runs, else numpy.
        rounds: in the place of the job's `rounds.count`.
        seed: in the place of the job's.
        settings: other values in the job, by dotted path, as one combination of its `[sweep]` would be.
        progress: whether to show how far it is.

    Raises:
        InputError: an argument, the job or its data is wrong, or the cluster cannot be had.
    """
    _check_types(job, settings, workers, {"where": where, "data": data, "root_set": root_set})
    check_options(_WHERE, "", engine, workers=workers, address=address, backend=backend)
    path = Path(where) if where is not None else Path("job.toml") if isinstance(job, Job) else Path(job)
    chosen: Settings = dict(settings or {})
    chosen |= {} if rounds is None else {"rounds.count": rounds}
    chosen |= {} if seed is None else {"seed": seed}
    read = variant(job if isinstance(job, Job) else load_job(Path(job)), chosen, str(path))
    check_runnable(read, path)
    folder, own = None if data is None else Path(data), None if root_set is None else Path(root_set)
    console = Console(quiet=not progress)
    if engine == "processes":
        with tempfile.TemporaryDirectory(prefix="fedloom-") as out:
            history, _ = run_processes(Order(read, path, folder, own, Path(out)), 0, "auto", console)
        history.model_path = ""  # it is gone with the rest
        return history
    with connect(address, workers) if engine == "ray" else nullcontext() as cluster:
        make_crew = cluster.make_crew if cluster else None
        made = federation(read, path, data=folder, root_set=own, workers=workers, make_crew=make_crew, backend=backend)
        made.history.engine = engine
        follow(made.run(), read, console)
    made.history.clients = client_figures(read, made.population, made.model)
    return made.history


def _check_types(job: object, settings: object, workers: object, paths: Mapping[str, object]) -> None:
    """Refuse what Python would take until it breaks somewhere below.

    Raises:
        InputError: names the argument.
    """
    if not isinstance(job, Job | str | PathLike):
        raise _is_no("job", job, "job", "give the path of its file, or what load_job gives")
    for name, path in paths.items():
        if path is not None and not isinstance(path, str | PathLike):
            raise _is_no(name, path, "path", "give a str or a Path")
    if not isinstance(workers, int) or workers < 0:
        raise _is_no("workers", workers, "number of processes", "give one, or 0 for as many as it is worth")
    if settings is not None and not (isinstance(settings, Mapping) and all(isinstance(key, str) for key in settings)):
        raise _is_no("settings", settings, "dict by path", 'give one, as {"training.learning_rate": 0.1}')


def _is_no(name: str, value: object, what: str, remedy: str) -> InputError:
    return InputError(_WHERE, name, f"{value!r} is no {what}", remedy)
