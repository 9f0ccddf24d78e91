"""Live progress of a run: a bar on a terminal, a line a round elsewhere."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from aggregator.notices import AnyNotice, Ready, RoundClosed, RoundOpened, Stalled, Started, UpdateSeen
from aggregator.report import describe
from fedloom.job import Job
from fedloom.learning.personal import PREFIX
from fedloom.wire.messages import Phase
from simulation.history import HEADLINES, TEST

LINES = 20


def headline(metrics: dict[str, float]) -> str:
    """The one figure that people look at first, and that of the devices' own models where they have such.

    >>> headline({"loss": 1.5, "accuracy": 0.5, "personal_accuracy": 0.75})
    'accuracy 50.0%, personal accuracy 75.0%'
    >>> headline({"test_accuracy": 0.5})
    'test accuracy 50.0%'
    """
    names = (prefix + name for prefix in ("", TEST) for name in HEADLINES)
    name = next((name for name in names if name in metrics), None)
    if name is None:
        return ""
    form = ".1%" if name.endswith("accuracy") else ".4g"
    own = f", personal {name} {metrics[PREFIX + name]:{form}}" if PREFIX + name in metrics else ""
    return f"{name.replace('_', ' ')} {metrics[name]:{form}}{own}"


def follow(notices: Iterable[AnyNotice], job: Job, console: Console) -> None:
    """Show the run until it is done."""
    if console.is_terminal:
        _follow_with_bar(notices, job, console)
    else:
        _follow_with_lines(notices, job, console)


def _follow_with_lines(notices: Iterable[AnyNotice], job: Job, console: Console) -> None:
    """About LINES lines a run. How good a round's model is, is known when the round after it has closed."""
    every = max(1, job.rounds.count // LINES)
    last: RoundClosed | None = None
    for notice in notices:
        if isinstance(notice, RoundClosed) and notice.outcome == "done" and notice.phase is not Phase.STATISTICS:
            if last is not None and last.round % every == 0:
                console.print(_describe_round(last, job.rounds.count, notice.metrics), highlight=False, soft_wrap=True)
            last = notice
        elif not isinstance(notice, RoundOpened | Started) and (text := describe(notice)):
            console.print(text, highlight=False, soft_wrap=True)


def _describe_round(notice: RoundClosed, rounds: int, metrics: dict[str, float]) -> str:
    parts = [f"{notice.accepted} updates in {1000 * notice.seconds:.0f} ms"]
    if notice.train_loss is not None:
        parts.append(f"training loss {notice.train_loss:.4g}")
    if metrics:
        parts.append(headline(metrics))
    return f"round {notice.round:>{len(str(rounds))}} of {rounds}: {', '.join(parts)}"


def _follow_with_bar(notices: Iterable[AnyNotice], job: Job, console: Console) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figure]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("waiting for devices", total=job.rounds.count, figure="")
        for notice in notices:
            _advance(progress, bar, notice)
            if isinstance(notice, UpdateSeen | Stalled) and (text := describe(notice)):
                progress.console.print(text, highlight=False)


def _advance(progress: Progress, bar: TaskID, notice: AnyNotice) -> None:
    match notice:
        case Ready():
            progress.update(bar, description=f"{notice.devices}/{notice.needed} devices ready")
        case RoundOpened():
            progress.update(bar, description=f"{notice.phase}, {notice.invited} devices")
        case RoundClosed() if notice.outcome == "done":
            if notice.phase is Phase.TRAIN:
                progress.advance(bar)
            if notice.metrics:
                progress.update(bar, figure=headline(notice.metrics))
        case _:
            pass
