"""The Python API: what `fedloom.simulate` is."""

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from aggregator.runnable import check_runnable
from fedloom.job import Job, load_job
from fedloom.job.variants import variant
from fedloom.sweep import Settings, Value
from simulation.cluster.entry import connect
from simulation.history import History
from simulation.progress import follow
from simulation.running import Engine, Order, run_processes
from simulation.spread import client_figures
from simulation.virtual import Choice, federation


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
        InputError: the job or its data is wrong, or the cluster cannot be had.
    """
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
