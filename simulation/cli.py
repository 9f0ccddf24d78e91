"""`fedloom simulate` and `fedloom demo`: a whole federation on this machine."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from aggregator.runnable import check_runnable
from fedloom.errors import InputError
from fedloom.job import load_job
from simulation import demo as demonstration
from simulation.digits import digits_case
from simulation.directory import new_directory
from simulation.population.catalogue import examples_folder
from simulation.processes import BrokerKind
from simulation.report import facts, ideas, write_report
from simulation.running import Engine, Order, outcome_of, run_fleet, run_processes, run_virtual, summary

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)

Out = Annotated[Path | None, typer.Option(help="Directory for what the run leaves; it must be new or empty.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
WhichBroker = Annotated[BrokerKind, typer.Option(help="auto: Mosquitto where it is installed, else amqtt.")]


@app.command()
def simulate(
    job_path: Annotated[Path, typer.Argument(metavar="JOB", help="The job file.")],
    engine: Annotated[Engine | None, typer.Option(help="Default: cohort if the job has [simulation].")] = None,
    workers: Annotated[int, typer.Option(min=0, help="cohort: processes; 0: as many as it is worth.")] = 0,
    rounds: Annotated[int, typer.Option(min=0, help="In the place of the job's rounds.count; 0: that.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="processes: so many of the data files; 0: all.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder with a file a device; default: data beside JOB.")] = None,
    root_set: Annotated[Path | None, typer.Option(metavar="FILE", help="The aggregator's own samples.")] = None,
    out: Out = None,
    broker: WhichBroker = "auto",
    as_json: AsJson = False,
) -> None:
    """Run a job on this machine, by one of two engines.

    cohort: virtual clients, many at once, as [simulation] in the job says. processes: a broker, an aggregator, and a
    daemon for each client.

    Examples:

      fedloom simulate examples/mnist/job.toml --workers 2

      fedloom simulate examples/watch/job.toml --processes 8

      fedloom simulate job.toml --data recordings/ --root-set checked.csv --out runs/first --json
    """
    job = load_job(job_path)
    if rounds:
        job = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, count=rounds))
    check_runnable(job, job_path)
    engine = engine or ("cohort" if job.simulation else "processes")
    console = Console(stderr=as_json)
    order = Order(job, job_path, data, root_set, out)
    if engine == "cohort":
        if processes:
            raise InputError("fedloom simulate", "--processes", "is of engine processes", "set simulation.clients")
        history, model = run_virtual(order, workers, console)
    else:
        if workers:
            raise InputError("fedloom simulate", "--workers", "is of engine cohort", "leave it out")
        history, model = run_processes(order, processes, broker, console)
    if as_json:
        typer.echo(json.dumps(outcome_of(history)))
        return
    for line in summary(history, model):
        console.print(line, highlight=False, soft_wrap=True)


@app.command()
def demo(
    dataset: Annotated[str, typer.Option(help="watch: real smartwatch recordings; digits: handwritten digits.")] = (
        "watch"
    ),
    out: Out = None,
    broker: WhichBroker = "auto",
    as_json: AsJson = False,
) -> None:
    """Let devices learn together, and compare with what each could do alone and with all data in one place.

    Examples:

      fedloom demo

      fedloom demo --dataset digits --out runs/digits
    """
    started = time.monotonic()
    cases = {"watch": demonstration.watch_case, "digits": digits_case}
    if dataset not in cases:
        raise InputError("fedloom demo", "--dataset", f"{dataset!r} is not one", f"choose from {', '.join(cases)}")
    console = Console(stderr=as_json)
    directory = new_directory(out, f"demo-{dataset}")
    case = cases[dataset](examples_folder(), directory)
    console.print(f"[bold]{case.title}[/bold]\n{case.lead}\n")
    history, model = run_fleet(directory / "fleet", case.job_path, case.job, case.devices, broker, console)
    with console.status("for comparison") as status:
        devices, tests = demonstration.load(case)
        rows = demonstration.compare(case, devices, tests, model, lambda what: status.update(f"training {what}"))
    verdicts = demonstration.verdicts(case, rows)
    write_report(directory, case, model, history, rows, verdicts)
    if as_json:
        figures = {row.name: row.accuracies for row in rows}
        typer.echo(json.dumps({"accuracy": figures, "met": [v.met for v in verdicts], "out": str(directory)}))
        return
    _print_outcome(console, case, rows, verdicts)
    for name, value in facts(case, history):
        console.print(f"  {name}: {value}", highlight=False, soft_wrap=True)
    took = time.monotonic() - started
    console.print(f"\nreport, plots, ONNX model and job: {directory}/ ({took:.0f} s in all)", soft_wrap=True)
    console.print("try next:", *(f"  {line}" for line in ideas(case, directory)), sep="\n", soft_wrap=True)


def _print_outcome(
    console: Console,
    case: demonstration.Case,
    rows: Sequence[demonstration.Row],
    verdicts: Sequence[demonstration.Verdict],
) -> None:
    table = Table(title="accuracy", title_justify="left", header_style="bold")
    table.add_column("trained on")
    table.add_column(case.unseen_title, justify="right")
    table.add_column(case.holdout_title, justify="right")
    for row in rows:
        style = "bold blue" if row.name == "federated" else "bold" if row.name.startswith("al") else ""
        table.add_row(row.name, *(f"{value:.1%}" for value in row.accuracies), style=style)
    console.print(table)
    for verdict in verdicts:
        mark = "[green]✓[/green]" if verdict.met else "[red]✗ falls short:[/red]"
        console.print(f"{mark} {verdict.text}", highlight=False, soft_wrap=True)
