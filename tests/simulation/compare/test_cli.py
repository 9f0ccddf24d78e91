"""`fedloom compare` with the real engine: real runs, known again by their content, in a table, JSON and a report."""

import json
import time

import pytest

from fedloom.command import main
from simulation.compare import cli, compare
from simulation.history import History

SWEEP = 'strategy = [{ name = "fedavg" }, { name = "fedadam" }]\nseed = [1, 2]'


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    return ended.value.code


def test_a_sweep_is_run_once_and_then_known_by_its_content(write_job, digits, tmp_path, capsys):
    path, cache = write_job(sweep=SWEEP, dataset=digits), tmp_path / "cache"
    assert run(path, "--cache", cache, "--target", 0.3, "--workers", 2, "--out", tmp_path / "report") == 0
    said = capsys.readouterr().out
    assert "4 of 4: digits (strategy fed" in said
    assert "rounds to 30.0 %" in said
    assert "was done before" not in said
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<h2>How clients differ</h2>" in page
    assert "<h2>Against bytes</h2>" in page
    histories = [History.from_json(file.read_bytes()) for file in sorted(cache.iterdir())]
    assert len(histories) == 4
    assert all(len(history.clients["accuracy"]) == 4 and history.rounds == [0, 1, 2] for history in histories)

    path.write_text(path.read_text().replace("[1, 2]", "[2, 3, 1]").replace("[rounds]", "\n# as before\n[rounds]"))
    assert run(path, "--cache", cache, "--json") == 0
    told = capsys.readouterr()
    assert told.err.count("was done before") == 4
    first, second = json.loads(told.out)["rows"]
    assert (first["settings"], first["seeds"]) == ({"strategy": {"name": "fedavg"}}, [2, 3, 1])
    assert second["final"]["count"] == 3
    assert 0.1 < first["final"]["mean"] <= first["best"]["mean"] < 1


def test_what_is_known_is_not_simulated_again(write_job, digits, tmp_path, capsys, monkeypatch):
    path, cache = write_job(dataset=digits), tmp_path / "cache"
    assert run(path, "--cache", cache) == 0
    monkeypatch.setattr(cli, "simulate_run", None)  # nobody calls it
    began = time.monotonic()
    assert run(path, "--cache", cache) == 0
    assert time.monotonic() - began < 5
    assert capsys.readouterr().out.count("was done before") == 1


def test_a_target_that_is_out_of_reach_is_not_reached(write_job, digits, tmp_path, capsys):
    """Whichever way it is out of reach, and with a picture of it."""
    path, cache = write_job(dataset=digits), tmp_path / "cache"
    assert run(path, "--cache", cache, "--target", 1.5, "--out", tmp_path / "above") == 0
    assert "not reached" in capsys.readouterr().out
    assert run(path, "--cache", cache, "--figure", "test_loss", "--target", -1, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["reached"], row["costs"]) == (0, {})


def test_a_run_that_fails_is_told_beside_those_that_do_not(write_job, digits, tmp_path, capsys):
    """A learning rate with which nothing is left of the weights."""
    path = write_job(sweep='"training.learning_rate" = [0.1, 1e38]', dataset=digits)
    assert run(path, "--no-cache", "--out", tmp_path / "report") == 1
    said = capsys.readouterr().out
    assert "failed: digits (training.learning_rate 1e+38): round 1 makes no model" in said
    assert "0, 1 failed" in said
    assert "round 1 makes no model" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize(
    ("sweep", "dataset", "arguments", "problem"),
    [
        ('"training.lerning_rate" = [1]', "digits", [], "did you mean 'learning_rate'?"),
        ("", "digts", [], "did you mean 'digits'?"),
        ("", "digits", ["--target", "nan"], "--target"),
        ("", "digits", ["--figure", "acuracy"], "--figure: 'acuracy' is measured in none of these runs; did you mean"),
        ("", "digits", ["digits.toml"], "digits.toml: JOB: is given twice; give it once"),
        ("", "digits", ["--out", "."], "is not an empty directory"),
        ("", "digits", ["--out", "digits.toml/x"], "digits.toml/x: --out: digits.toml is a file, not a folder"),
        ("", "digits", ["--cache", "digits.toml"], "digits.toml: --cache: digits.toml is a file, not a folder; choose"),
        ("", "digits", ["--no-cache"], "--cache: runs is given beside --no-cache; leave one of the two out"),
        ("", "digits", ["--root-set", "digits.toml"], "the rules of these jobs make nothing of it; leave it out"),
        ("", "digits", ["--workers", "100000"], "fedloom compare: --workers: 100,000 processes are too many"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(write_job, tmp_path, monkeypatch, capsys, sweep, dataset, arguments,
                                                     problem):  # fmt: skip
    monkeypatch.setattr(compare, "run_all", None)  # nobody calls it
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(write_job(sweep=sweep, dataset=dataset)), "--cache", "runs", *arguments]) == 2
    assert problem in capsys.readouterr().err
