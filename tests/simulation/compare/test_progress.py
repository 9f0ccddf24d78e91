"""How far a comparison is."""

import io

import fake_engine
import pytest
from rich.console import Console

from simulation.compare.compare import Outcome
from simulation.compare.plan import plan
from simulation.compare.progress import following


@pytest.mark.parametrize("is_terminal", [False, True])
def test_every_failure_is_told_at_once_and_what_takes_no_time_is_not_reckoned_with(write_job, is_terminal):
    runs = plan([write_job(sweep="seed = [3, 4, 5]")])
    out = io.StringIO()
    with following(3, 2, Console(file=out, force_terminal=is_terminal, width=150)) as tell:
        tell(Outcome(runs[0], fake_engine.history(runs[0]), "", 0.0, was_known=True))
        tell(Outcome(runs[1], fake_engine.history(runs[1]), "", 2.0))
        tell(Outcome(runs[2], None, "out of luck", 1.0))
    said = out.getvalue()
    assert "digits (seed 5): failed: out of luck" in said
    if is_terminal:
        assert "2/2" in said
    else:
        assert "1 of 3: digits (seed 3): accuracy 30.0 %, was done before" in said
        assert "2 of 3: digits (seed 4): accuracy 40.0 %, 2.0 s" in said
