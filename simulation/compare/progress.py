"""How far a comparison is: a bar with the time that is left on a terminal, a line a run elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from simulation.compare.compare import Outcome
from simulation.compare.words import value_of

Tell = Callable[[Outcome], None]


@contextmanager
def following(runs: int, workers: int, console: Console) -> Iterator[Tell]:
    """Gives what each run that is over is to be told to."""
    if not console.is_terminal:
        yield _Lines(runs, console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs, left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, runs, workers)


class _Bar:
    def __init__(self, progress: Progress, runs: int, workers: int) -> None:
        self._progress = progress
        self._runs = runs
        self._task = progress.add_task(f"{workers} at a time", total=runs)

    def __call__(self, outcome: Outcome) -> None:
        if outcome.was_known:  # takes no time, of which what is left is reckoned
            self._runs -= 1
            self._progress.update(self._task, total=self._runs)
            return
        if outcome.problem:
            self._progress.console.print(_line(outcome), highlight=False, soft_wrap=True, markup=False)
        self._progress.advance(self._task)


class _Lines:
    def __init__(self, runs: int, console: Console) -> None:
        self._runs = runs
        self._console = console
        self._done = 0

    def __call__(self, outcome: Outcome) -> None:
        self._done += 1
        text = f"{self._done:>{len(str(self._runs))}} of {self._runs}: {_line(outcome)}"
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


def _line(outcome: Outcome) -> str:
    """What came of a run."""
    history = outcome.history
    if history is None:
        return f"{outcome.run}: failed: {outcome.problem}"
    took = "was done before" if outcome.was_known else f"{outcome.seconds:.1f} s"
    name = history.headline
    figure = f"{name} {value_of(name, history.series(name)[-1])}, " if name else ""
    return f"{outcome.run}: {figure}{took}"
