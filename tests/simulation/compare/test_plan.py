"""What is compared is known, and known to be possible, before anything runs."""

import pytest

from fedloom.errors import InputError
from simulation.compare.cache import key_of
from simulation.compare.plan import plan
from simulation.compare.work import simulate_run
from simulation.history import History


def test_jobs_and_their_sweeps_become_runs_in_order(write_job):
    runs = plan([write_job("one", "seed = [1, 2]"), write_job("two")])
    assert [str(run) for run in runs] == ["one (seed 1)", "one (seed 2)", "two"]
    assert [run.job.seed for run in runs] == [1, 2, 0]


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        (['"strategy.name" = ["fedavg", "fedagv"]'], "fedagv"),
        (['"strategy.options.mu" = [0.1]'], "mu"),
        (['"simulation.clients" = [4, 5000]'], "5,000 clients are more than the 899 samples"),
        (['"simulation.dataset" = ["digits", "iris"]'], "64 inputs, but a sample of 'iris' has 4 features"),
        (['"rounds.devices" = [2, 5]'], "the job waits for 5 devices, but there are 4 clients"),
        (
            [f"seed = {list(range(600))}", f"seed = {list(range(600))}"],
            "make 1,200 runs; compare in several goes: 1,000",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_anything_does(write_job, sweeps, message):
    with pytest.raises(InputError, match=message):
        plan([write_job(f"job{number}", sweep) for number, sweep in enumerate(sweeps)])


def test_a_rule_that_needs_samples_of_its_own_is_told_so_at_once(write_job, digits):
    path = write_job(sweep='"strategy.name" = ["fedavg", "fltrust"]', dataset=digits)
    with pytest.raises(InputError, match="--root-set"):
        plan([path])
    runs = plan([path], digits)
    assert [run.root_set for run in runs] == [None, digits]
    assert History.from_json(simulate_run(runs[1])).rounds == [0, 1, 2]
    assert key_of(runs[1]) != key_of(runs[1]._replace(root_set=None))


def test_samples_that_no_job_needs_are_refused(write_job, digits):
    with pytest.raises(InputError, match=r"--root-set: the rules of .* nothing of it; .* strategy.name to 'fltrust'"):
        plan([write_job("one"), write_job("two")], digits)


def test_two_jobs_of_one_name_could_not_be_told_apart(write_job, tmp_path):
    path = write_job("same")
    other = path.rename(tmp_path / "other.toml")
    with pytest.raises(InputError, match=r"same.toml: name: is the name of the job in .*other.toml, too"):
        plan([other, write_job("same")])
