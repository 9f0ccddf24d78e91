"""`fedloom compare`: jobs and their sweeps, simulated and set side by side."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fedloom.errors import InputError
from simulation.children import check_workers
from simulation.compare import words
from simulation.compare.cache import Cache, default_folder
from simulation.compare.compare import Comparison, compare
from simulation.compare.figures import check_figure
from simulation.compare.plan import plan
from simulation.compare.progress import following
from simulation.compare.rows import Findings, findings
from simulation.compare.work import simulate_run
from simulation.directory import check_folder, check_new, new_directory
from simulation.extras import require

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_WHERE = "fedloom compare"
_WIDE = 200
"""Characters a line where nobody said how many fit."""
INTERRUPTED = 130
"""Exit status, as of a program that Ctrl-C ends."""


@app.callback()
def _group() -> None:
    """Typer would take a lone command for the application itself."""


@app.command("compare")
def compare_jobs(
    job_paths: Annotated[list[Path], typer.Argument(metavar="JOB", help="Job files, with [sweep] or without.")],
    figure: Annotated[str, typer.Option(help="What to compare by; default: accuracy or its like.")] = "",
    target: Annotated[float | None, typer.Option(help="Tell what it costs until the figure reaches this.")] = None,
    root_set: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The aggregator's samples, for fltrust.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Runs at a time, a core each; 0: one a core.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of runs done before; default: ~/.cache/fedloom/runs.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do every run, and keep none.")] = False,
    out: Annotated[Path | None, typer.Option(help="New or empty directory for an HTML report and its figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Simulate jobs, each combination of their sweeps, and compare what comes of them.

    Runs that were done before, of the same job, data and code, are not done again; Ctrl-C keeps those that are done.

    Examples:

      fedloom compare jobs/*.toml --target 0.9

      fedloom compare job.toml --workers 4 --out runs/comparison
    """
    if target is not None and not -1e308 < target < 1e308:
        raise InputError(_WHERE, "--target", f"{target} is no number to reach", "give it a value of the figure")
    _check_places(out, cache, no_cache)
    check_workers(workers, _WHERE)
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = _WIDE
    runs = plan(job_paths, root_set)
    if figure:
        check_figure(figure, [run.job for run in runs])
    directory = new_directory(out, "compare") if out else None
    known = None if no_cache else Cache(cache or default_folder())
    cores = min(workers or len(os.sched_getaffinity(0)), len(runs))
    with following(len(runs), cores, console) as tell:
        comparison = compare(runs, simulate_run, cores, known, tell)
    if known:
        known.prune()
    found = findings(comparison, figure, target)
    if directory:
        command = shlex.join(["fedloom", "compare", *map(str, job_paths), *_options(found, root_set)])
        _write(directory, comparison, found, command)
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        _print(console, found, directory)
    if comparison.left_out:
        raise typer.Exit(INTERRUPTED)
    if comparison.failures:
        raise typer.Exit(1)


def _check_places(out: Path | None, cache: Path | None, no_cache: bool) -> None:
    """Refuse what the report or the runs could not be written to.

    Raises:
        InputError: names the option.
    """
    if out:
        check_new(out)
        require("matplotlib", f"{_WHERE} --out", "fedloom[sim]")
    if cache and no_cache:
        raise InputError(_WHERE, "--cache", f"{cache} is given beside --no-cache", "leave one of the two out")
    if not no_cache:
        check_folder(cache or default_folder(), "--cache")


def _options(found: Findings, root_set: Path | None) -> list[str]:
    target = [] if found.target is None else ["--target", str(found.target)]
    own = ["--root-set", str(root_set)] if root_set else []
    return [*(["--figure", found.figure] if found.figure else []), *target, *own, "--out", "DIR"]


def _write(directory: Path, comparison: Comparison, found: Findings, command: str) -> None:
    from simulation.compare.report import write_report  # matplotlib, which takes half a second

    write_report(directory, comparison, found, command)


def _print(console: Console, found: Findings, directory: Path | None) -> None:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in words.headings(found):
        table.add_column(name, overflow="fold")
    for row in found.rows:
        table.add_row(*words.cells(found, row))
    console.print(table)
    console.print(words.note(found), highlight=False)
    for failure in found.failures:
        console.print(f"failed: {failure.run}: {failure.problem}", style="red", highlight=False, markup=False)
    if found.left_out:
        console.print(f"interrupted: {found.left_out} runs are left; the same command does these alone", style="bold")
    if directory:
        console.print(f"report and figures: {directory}/", highlight=False, soft_wrap=True)
