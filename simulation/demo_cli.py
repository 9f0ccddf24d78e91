"""`fedloom demo`: a fleet on this machine learns from real data, and is compared with what there is without it."""

import json
import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedloom.errors import InputError
from simulation import demo as demonstration
from simulation.cli import AsJson, Out, WhichBroker
from simulation.digits import digits_case
from simulation.directory import new_directory
from simulation.population.catalogue import examples_folder
from simulation.report import facts, ideas, write_report
from simulation.running import run_fleet

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Typer would take a lone command for the application itself."""


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
