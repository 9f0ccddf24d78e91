"""`fedloom simulate` and `fedloom demo`: a whole federation on this machine."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from aggregator.root_set import load as load_root_set
from aggregator.runnable import check_runnable
from fedloom.data.config import SourceConfig
from fedloom.data.prepare import ENDINGS
from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.learning.model import Model
from fedloom.learning.model_file import load as load_model
from simulation import demo as demonstration
from simulation.digits import digits_case
from simulation.history import History, record
from simulation.processes import BrokerKind, LocalFleet
from simulation.progress import follow
from simulation.report import facts, ideas, write_report

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)

Out = Annotated[Path | None, typer.Option(help="Directory for what the run leaves; it must be new or empty.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
WhichBroker = Annotated[BrokerKind, typer.Option(help="auto: Mosquitto where it is installed, else amqtt.")]


@app.command()
def simulate(
    job_path: Annotated[Path, typer.Argument(metavar="JOB", help="The job file.")],
    processes: Annotated[int, typer.Option(min=0, help="How many devices; 0: one for each data file.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder with a file a device; default: data beside JOB.")] = None,
    root_set: Annotated[Path | None, typer.Option(metavar="FILE", help="The aggregator's own samples.")] = None,
    out: Out = None,
    broker: WhichBroker = "auto",
    as_json: AsJson = False,
) -> None:
    """Run a job with real processes: a broker, an aggregator, and a daemon for each data file.

    Examples:

      fedloom simulate examples/watch/job.toml --processes 8

      fedloom simulate job.toml --data recordings/ --root-set checked.csv --out runs/first --json
    """
    job = load_job(job_path)
    check_runnable(job, job_path)
    load_root_set(SourceConfig(str(root_set)) if root_set else None, job, str(job_path))
    sources = find_sources(data or job_path.parent / "data", processes)
    if root_set and root_set.resolve() in [source.resolve() for source in sources]:
        problem = "would be the data of a device, too, which nobody else may have a hand in"
        raise InputError(str(root_set), "--root-set", problem, "move it out of the folder of the devices' files")
    if job.rounds.devices > len(sources):
        problem = f"the job waits for {job.rounds.devices} devices, but there are {len(sources)} data files"
        raise InputError(str(job_path), "rounds.devices", problem, "lower it or add data files")
    if job.cohort.require:
        problem = "the devices of a simulation have no labels, so that none could take part"
        raise InputError(str(job_path), "cohort.require", problem, "leave it out to simulate the job")
    console = Console(stderr=as_json)
    directory = new_directory(out, f"simulate-{job.name}")
    history, model = run(directory, job_path, job, sources, broker, console, root_set)
    if as_json:
        last = history.metrics[-1] if history.metrics else {}
        outcome = {"model": history.model_path, "metrics": last, "rounds": len(history.seconds)}
        typer.echo(json.dumps(outcome | {"seconds": history.seconds, "update_bytes": sum(history.update_bytes)}))
        return
    console.print(f"the model has {model.weights.size:,} weights and is in {history.model_path}", soft_wrap=True)


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
    history, model = run(directory / "fleet", case.job_path, case.job, case.devices, broker, console)
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


def run(
    directory: Path,
    job_path: Path,
    job: Job,
    sources: Sequence[Path],
    broker: BrokerKind,
    console: Console,
    root_set: Path | None = None,
) -> tuple[History, Model]:
    """Run a local fleet to its end, with progress; its processes are gone afterwards."""
    history = History(engine="processes")
    with LocalFleet(directory, job_path, sources, broker, root_set=root_set) as fleet:
        kind = fleet.broker.kind if fleet.broker else ""
        text = f"{len(sources)} device processes, an aggregator, and {kind} as broker; logs in {directory}/"
        console.print(text, highlight=False, soft_wrap=True)
        follow(record(fleet.notices(), history), job, console)
        fleet.wait()
    return history, load_model(Path(history.model_path))


def find_sources(folder: Path, count: int) -> list[Path]:
    """The data files in `folder`, in the order of their names; the first `count` if that is not 0.

    Raises:
        InputError: there is no such folder, or too few files.
    """
    if not folder.is_dir():
        remedy = "name the folder with --data; an example's README says how to make its data"
        raise InputError(str(folder), "", "there is no such folder", remedy)
    files = sorted(path for path in folder.iterdir() if path.name.endswith(tuple(ENDINGS)))
    if len(files) < max(1, count):
        remedy = f"add files ending in {', '.join(ENDINGS)}"
        raise InputError(str(folder), "", f"holds {len(files)} data files for {max(1, count)} devices", remedy)
    return files[:count] if count else files


def new_directory(wanted: Path | None, name: str) -> Path:
    """An empty directory for a run: the one that was asked for, or a new one below runs/.

    Raises:
        InputError: there is something in it already.
    """
    if wanted is None:
        Path("runs").mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-", dir="runs"))
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise InputError(str(wanted), "--out", "is not an empty directory", "choose another or remove it")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted


def examples_folder() -> Path:
    """The examples of this checkout.

    Raises:
        InputError: fedloom was installed without them.
    """
    for folder in (Path("examples"), Path(__file__).resolve().parent.parent / "examples"):
        if (folder / "watch" / "job.toml").is_file():
            return folder
    raise InputError("examples", "", "are not installed", "run this in a checkout of fedloom's repository")


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
