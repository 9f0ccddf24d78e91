"""What `fedloom simulate` does: a job, an engine, progress, and what is left of the run in a directory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.learning.model import Model
from fedloom.learning.model_file import load as load_model
from fedloom.learning.model_file import save as save_model
from simulation.broker import BrokerKind
from simulation.cluster.entry import connect
from simulation.cohort.federation import Federation, check_clients
from simulation.cohort.kernels import Choice
from simulation.directory import new_directory
from simulation.divergence import ending
from simulation.handing_out import job_of_files, write_parts
from simulation.history import TEST, History, record
from simulation.job_file import write_job
from simulation.population.build import build
from simulation.population.files import find_sources
from simulation.progress import follow, headline
from simulation.root_set import open_root_set
from simulation.spread import client_figures
from simulation.virtual import federation
from simulation.world.summary import in_words


class Order(NamedTuple):
    """What is to be run."""

    job: Job
    path: Path
    """Its file."""
    data: Path | None
    """Folder with a file a client; None: data beside the job."""
    root_set: Path | None
    out: Path | None
    """Directory for what the run leaves; None: a new one below runs/."""
    backend: Choice = "auto"
    """Of the virtual clients."""


def run_virtual(order: Order, workers: int, console: Console) -> tuple[History, Model]:
    """With engine `cohort`."""
    made = federation(
        order.job, order.path, data=order.data, root_set=order.root_set, workers=workers, backend=order.backend
    )
    return _run(made, order, console)


def run_on_cluster(order: Order, workers: int, address: str | None, console: Console) -> tuple[History, Model]:
    """With engine `ray`; see `simulation.cluster.entry.connect`.

    Raises:
        InputError: the cluster cannot be had, the job cannot be run, or its data is missing or does not fit.
    """
    with connect(address, workers) as cluster:
        console.print(cluster.lead, highlight=False, soft_wrap=True)
        made = federation(
            order.job,
            order.path,
            data=order.data,
            root_set=order.root_set,
            make_crew=cluster.make_crew,
            backend=order.backend,
        )
        made.history.engine = "ray"
        return _run(made, order, console)


def _run(made: Federation, order: Order, console: Console) -> tuple[History, Model]:
    directory = new_directory(order.out, f"simulate-{order.job.name}")
    console.print(made.lead, highlight=False, soft_wrap=True)
    follow(made.run(), order.job, console)
    made.history.clients = client_figures(order.job, made.population, made.model)
    made.history.model_path = str(directory / "model.fedloom")
    save_model(made.model, directory / "model.fedloom")
    (directory / "history.json").write_bytes(made.history.to_json())
    return made.history, made.model


def run_processes(order: Order, processes: int, broker: BrokerKind, console: Console) -> tuple[History, Model]:
    """With engine `processes`.

    Raises:
        InputError: the job cannot be run, or its data is missing or does not fit.
    """
    job, path, root_set = order.job, order.path, order.root_set
    open_root_set(root_set, job, path)
    if tables := ignored(job):
        told = "processes have a speed of their own and do not lie: without effect here are"
        console.print(f"{told} {', '.join(tables)}", markup=False, highlight=False, soft_wrap=True)
    population = build(job, path, job.seed) if job.simulation and job.simulation.dataset else None
    sources = [] if population else find_sources(order.data or path.parent / "data", processes)
    _check_sources(order, sources, population.clients if population else len(sources))
    directory = new_directory(order.out, f"simulate-{job.name}")
    if population:
        sources, job = write_parts(job, population, directory / "clients"), job_of_files(job)
    written = path if job == load_job(path) else write_job(_movable(job, path), directory / "job.toml")
    return run_fleet(directory, written, job, sources, broker, console, root_set)


def ignored(job: Job) -> list[str]:
    """Tables of a job that engine `processes` makes nothing of."""
    simulation = job.simulation
    given = {"devices": simulation.devices, "attack": simulation.attack} if simulation else {}
    return [f"[simulation.{name}]" for name, table in given.items() if table is not None]


def _check_sources(order: Order, sources: Sequence[Path], clients: int) -> None:
    root_set, job = order.root_set, order.job
    if root_set and root_set.resolve() in [source.resolve() for source in sources]:
        problem = "would be the data of a device, too, which nobody else may have a hand in"
        raise InputError(str(root_set), "--root-set", problem, "move it out of the folder of the devices' files")
    check_clients(job, str(order.path), clients, "data files" if sources else "clients")


def _movable(job: Job, path: Path) -> Job:
    """The job as it can be read from another folder than that of its file."""
    if not job.warm_start:
        return job
    return msgspec.structs.replace(job, warm_start=str((path.parent / job.warm_start).resolve()))


def run_fleet(
    directory: Path,
    job_path: Path,
    job: Job,
    sources: Sequence[Path],
    broker: BrokerKind,
    console: Console,
    root_set: Path | None = None,
) -> tuple[History, Model]:
    """Run a local fleet to its end, with progress; its processes are gone afterwards."""
    from simulation.processes import LocalFleet  # its database takes longer to import than many a simulation to run

    history = History(engine="processes")
    with LocalFleet(directory, job_path, sources, broker, root_set=root_set) as fleet:
        kind = fleet.broker.kind if fleet.broker else ""
        text = f"{len(sources)} device processes, an aggregator, and {kind} as broker; logs in {directory}/"
        console.print(text, highlight=False, soft_wrap=True)
        follow(record(ending(fleet.notices(), job), history), job, console)
        fleet.wait()
    return history, load_model(Path(history.model_path))


def outcome_of(history: History) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "model": history.model_path,
        "metrics": history.metrics[-1] if history.metrics else {},
        "rounds": len(history.seconds),
        "seconds": history.seconds,
        "update_bytes": sum(history.update_bytes),
        "simulated_s": sum(history.simulated_s),
        "energy_j": sum(history.energy_j),
    }


def summary(history: History, model: Model) -> Iterator[str]:
    """What a run has come to, in lines."""
    last = history.metrics[-1] if history.metrics else {}
    tested = {name.removeprefix(TEST): value for name, value in last.items() if name.startswith(TEST)}
    own = {name: value for name, value in last.items() if not name.startswith(TEST)}
    for where, figures in (("on the clients' hold-outs", own), ("on the test set", tested)):
        if words := headline(figures):
            yield f"{where}: {words}"
    rounds, seconds, sent = len(history.seconds), sum(history.seconds), sum(history.update_bytes)
    yield f"{rounds} rounds in {seconds:.1f} s, {sum(history.updates):,} updates of {sent / 1e6:,.1f} MB in all"
    if attempts := [each for tried in history.attempts for each in tried]:
        yield from in_words(attempts)
    yield f"the model has {model.weights.size:,} weights and is in {history.model_path}"
