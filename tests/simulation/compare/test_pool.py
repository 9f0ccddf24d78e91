"""Whatever becomes of a run, the others are done."""

import json
import os
import signal

import fake_engine
import pytest

from simulation.compare.plan import plan
from simulation.compare.pool import _Member, run_all
from simulation.history import History


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_that_fails_or_kills_its_process_ends_no_other(write_job, workers):
    names = ("good", "refused", "broken", "killed", "threads")
    runs = plan([write_job(name, "seed = [3, 4]" if name == "good" else "") for name in names])
    replies = dict(run_all(runs, fake_engine.work, workers))
    assert sorted(replies) == list(range(6))
    assert [History.from_json(replies[place].history).series("accuracy")[-1] for place in (0, 1)] == [0.3, 0.4]
    assert [replies[place].problem for place in (2, 3)] == [
        "job.toml: model: is too large; make it smaller",
        "ZeroDivisionError: a bug",
    ]
    assert replies[4].problem.startswith("its process ended with status -9; is there enough memory?")
    assert json.loads(replies[5].history) == ["1", "1"]


def test_a_process_that_dies_before_it_has_heard_of_its_run_is_replaced(write_job):
    member = _Member(fake_engine.work)
    try:
        os.kill(member._process.pid, signal.SIGSTOP)
        member.take(0, plan([write_job()])[0])
        os.kill(member._process.pid, signal.SIGKILL)
        assert member.reply().problem.startswith("its process ended with status -9")
        member.take(1, plan([write_job()])[0])
        assert not member.reply().problem
    finally:
        member.stop()


def test_whoever_stops_asking_ends_the_processes(write_job):
    replies = run_all(plan([write_job(sweep="seed = [1, 2, 3]")]), fake_engine.work, 2)
    next(replies)
    members = replies.gi_frame.f_locals["members"]
    replies.close()
    assert [member._process.exitcode for member in members] == [-9, -9]
