"""`fedloom partition`: who has which samples in a job's simulation, before anybody trains on them."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fedloom.errors import InputError
from fedloom.job import Job, load_job
from simulation.directory import check_file
from simulation.extras import require
from simulation.population.build import build
from simulation.population.summary import Summary, summarise

PICTURES = (".png", ".svg", ".pdf")

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Typer would take a lone command for the application itself."""


@app.command()
def partition(
    job_path: Annotated[Path, typer.Argument(metavar="JOB", help="The job file.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it, too: .png, .svg or .pdf.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with a file a client; default: data beside JOB.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Show how the data of a simulation are dealt out: how many samples clients have, and of which classes.

    Examples:

      fedloom partition examples/digits_mlp/job_mnist.toml --out partition.png

      fedloom partition examples/watch/job.toml --json
    """
    if out and out.suffix.lower() not in PICTURES:
        raise InputError(str(out), "--out", "is no picture that can be written", f"end it in {', '.join(PICTURES)}")
    if out:
        check_file(out, "--out")
        require("matplotlib", "fedloom partition --out", "fedloom[sim]")
    job = load_job(job_path)
    summary = summarise(build(job, job_path, job.seed, data), len(job.data.classes), job.seed)
    if out:
        _draw(summary, job, out)
    if as_json:
        typer.echo(json.dumps(_figures(summary, job)))
        return
    console = Console()
    console.print(_table(summary, job))
    if out:
        console.print(f"drawn in {out}", highlight=False, soft_wrap=True)


def _draw(summary: Summary, job: Job, out: Path) -> None:
    from simulation.population.plot import figure  # matplotlib, which takes a second

    figure(summary, job.data.classes, _title(job)).savefig(out, dpi=150)


def _title(job: Job) -> str:
    simulation = job.simulation
    if simulation is None or not simulation.dataset:
        return f"{job.name}: a file a client"
    method = simulation.partition.method
    uses_alpha = method in ("dirichlet", "quantity")
    return f"{simulation.dataset}, {method}" + (f" α = {simulation.partition.concentration:g}" if uses_alpha else "")


def _spread(values: NDArray[np.int64]) -> dict[str, float]:
    return {
        "smallest": int(values.min()),
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "largest": int(values.max()),
    }


def _figures(summary: Summary, job: Job) -> dict[str, object]:
    figures: dict[str, object] = {
        "clients": summary.clients,
        "looked_at": len(summary.ids),
        "training": _spread(summary.training),
        "holdout": _spread(summary.holdout),
        "test": summary.test,
    }
    if summary.counts is not None:
        of_all = dict(zip(job.data.classes, summary.counts.sum(0).tolist(), strict=True))
        figures |= {"classes": _spread(summary.present), "skew": summary.skew, "samples_by_class": of_all}
    return figures


def _table(summary: Summary, job: Job) -> Table:
    seen = "" if len(summary.ids) == summary.clients else f" (of {len(summary.ids):,} drawn at random)"
    table = Table(title=f"{_title(job)}: {summary.clients:,} clients{seen}", title_justify="left", header_style="bold")
    for name in ("a client's", "smallest", "median", "mean", "largest"):
        table.add_column(name, justify="left" if name == "a client's" else "right")
    rows = [("training samples", summary.training), ("held-out samples", summary.holdout)]
    if summary.counts is not None:
        rows.append(("classes", summary.present))
    for name, values in rows:
        table.add_row(name, *(f"{value:,.10g}" if value == int(value) else f"{value:,.1f}"
                              for value in _spread(values).values()))  # fmt: skip
    table.caption_justify = "left"
    table.caption = f"test samples that nobody has: {summary.test:,}"
    if summary.counts is not None:
        table.caption += f"\nskew of classes: {summary.skew:.2f} (0: all clients alike)"
    return table
