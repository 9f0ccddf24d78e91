"""However a ServerApp ends, the aggregator hears of it."""

import queue
import sys
from types import SimpleNamespace

import pytest

from aggregator.events import Ended
from aggregator.flower.app import LoadedApp
from aggregator.flower.serve import _Runner

DEADLINE_S = 60.0


def leave(code):
    return lambda grid, context: sys.exit(code)


def fail(grid, context):
    raise ValueError("no")


def interrupt(grid, context):
    raise KeyboardInterrupt("stop")


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (lambda grid, context: None, None),
        (fail, "no"),
        (interrupt, "stop"),
        (leave(None), None),
        (leave(0), None),
        (leave(3), "it has ended itself with status 3"),
        (leave("too few nodes"), "it has ended itself with status too few nodes"),
    ],
)
def test_the_run_is_over_however_its_app_ends(server, says):
    posted = queue.SimpleQueue()
    parts = SimpleNamespace(run=b"R" * 16, fleet=SimpleNamespace(ready=()))
    runner = _Runner(LoadedApp("an app", server, {}), parts, None)
    runner.start(SimpleNamespace(post=posted.put))
    assert posted.get(timeout=DEADLINE_S) == Ended()
    assert (str(runner.error) if runner.error else None) == says
