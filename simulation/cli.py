"""`fedloom simulate`: a whole federation on this machine, or its virtual clients on a cluster."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aggregator.runnable import check_runnable
from fedloom.job import load_job
from fedloom.job.variants import variant
from simulation.broker import BrokerKind
from simulation.cohort.kernels import Choice
from simulation.directory import check_new
from simulation.options import Engine, check_options
from simulation.running import Order, outcome_of, run_on_cluster, run_processes, run_virtual, summary

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Out = Annotated[Path | None, typer.Option(help="Directory for what the run leaves; it must be new or empty.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
WhichBroker = Annotated[BrokerKind, typer.Option(help="auto: Mosquitto where it is installed, else amqtt.")]


@app.callback()
def _group() -> None:
    """Typer would take a lone command for the application itself."""


@app.command()
def simulate(
    job_path: Annotated[Path, typer.Argument(metavar="JOB", help="The job file.")],
    engine: Annotated[Engine | None, typer.Option(help="Default: cohort if the job has [simulation].")] = None,
    workers: Annotated[int, typer.Option(min=0, help="cohort, ray: processes; 0: as many as it is worth.")] = 0,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT|auto", help="ray: a cluster; default: one of this machine alone.")
    ] = None,
    backend: Annotated[
        Choice, typer.Option(help="cohort, ray: numba is compiled, torch takes a GPU; auto: numba if it is worth it.")
    ] = "auto",
    rounds: Annotated[int, typer.Option(min=0, help="In the place of the job's rounds.count; 0: that.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="processes: so many of the data files; 0: all.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder with a file a device; default: data beside JOB.")] = None,
    root_set: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The aggregator's samples, for fltrust.")
    ] = None,
    out: Out = None,
    broker: WhichBroker = "auto",
    as_json: AsJson = False,
) -> None:
    """Run a job by one of three engines.

    cohort: virtual clients, many at once, as [simulation] in the job says. ray: the same on a Ray cluster. processes: a
    broker, an aggregator, and a daemon for each client.

    Examples:

      fedloom simulate examples/digits_mlp/job_mnist.toml --workers 2

      fedloom simulate examples/digits_mlp/job_mnist.toml --engine ray --address 10.0.0.1:6379

      fedloom simulate examples/watch/job.toml --processes 8

      fedloom simulate job.toml --data recordings/ --root-set checked.csv --out runs/first --json
    """
    job = load_job(job_path)
    if rounds:
        job = variant(job, {"rounds.count": rounds}, str(job_path))
    check_runnable(job, job_path)
    engine = engine or ("cohort" if job.simulation else "processes")
    check_options("fedloom simulate", "--", engine, workers=workers, address=address, backend=backend,
                  processes=processes, broker=broker)  # fmt: skip
    check_new(out)
    console = Console(stderr=as_json)
    order = Order(job, job_path, data, root_set, out, backend)
    match engine:
        case "cohort":
            history, model = run_virtual(order, workers, console)
        case "ray":
            history, model = run_on_cluster(order, workers, address, console)
        case "processes":
            history, model = run_processes(order, processes, broker, console)
    if as_json:
        typer.echo(json.dumps(outcome_of(history)))
        return
    for line in summary(history, model):
        console.print(line, highlight=False, soft_wrap=True)
