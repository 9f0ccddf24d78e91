"""What the demo says of a run is true, also when a promise is not kept; and what it leaves behind can be used."""

import io
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from rich.console import Console

from aggregator.notices import AnyNotice, Done, Ready, RoundClosed, UpdateSeen
from fedloom.errors import InputError
from fedloom.job import load_job
from fedloom.learning.model_file import load as load_model
from fedloom.learning.personal import Personal
from fedloom.wire.messages import Phase, Verdict
from simulation import demo
from simulation.baselines import pool, train_centrally
from simulation.cli import simulate
from simulation.digits import digits_case
from simulation.history import History, record
from simulation.population.files import find_sources
from simulation.progress import follow
from simulation.report import facts, write_report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> demo.Case:
    """The digits, for a few passes only."""
    case = digits_case(ROOT / "examples", tmp_path_factory.mktemp("digits"))
    rounds = msgspec.structs.replace(case.job.rounds, count=2)
    return case._replace(job=msgspec.structs.replace(case.job, rounds=rounds))


def closed(number: int, phase: Phase = Phase.TRAIN, accuracy: float | None = 0.5, outcome: str = "done") -> RoundClosed:
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    return RoundClosed(number, 1, phase, outcome, "late", 3, 0, 0, 0.02, metrics, 0.1, 3000, 0)  # type: ignore[arg-type]


RUN: list[AnyNotice] = [
    Ready(3, 3),
    closed(0, Phase.STATISTICS, None),
    closed(1, accuracy=0.1),
    UpdateSeen(2, 1, "device-02", Verdict.DECLINED, "data.csv: line 3 is ragged", 400),
    closed(2, outcome="aborted"),
    closed(2, accuracy=0.7),
    closed(3, Phase.EVALUATE, 0.9),
    Done("digits", 2, "v3.fedloom", {"accuracy": 0.9}),
]


def rows(alone: float, federated: float, pooled: float) -> list[demo.Row]:
    named = (("alone, mean", alone), ("federated", federated), ("all data pooled", pooled))
    return [demo.Row(name, (value, value)) for name, value in named]


@pytest.mark.parametrize(
    ("figures", "met"),
    [
        ((0.60, 0.80, 0.81), [True, True, True]),
        ((0.75, 0.80, 0.81), [False, True, True]),
        ((0.60, 0.80, 0.85), [True, False, False]),
        ((0.60, 0.85, 0.80), [True, True, True]),
    ],
)
def test_a_promise_that_is_not_kept_is_said_to_be(case: demo.Case, figures: tuple[float, ...], met: list[bool]) -> None:
    verdicts = demo.verdicts(case, rows(*figures))
    assert [verdict.met for verdict in verdicts] == met
    assert f"{100 * abs(figures[1] - figures[2]):.1f} points" in verdicts[1].text


def test_the_unseen_is_on_no_device_and_the_report_can_be_used(case: demo.Case, tmp_path: Path) -> None:
    devices, tests = demo.load(case)
    seen = {row.tobytes() for device in devices for part in device for row in part.x}
    assert len(tests.unseen.x) == 359  # a fifth of 1,797
    assert sum(row.tobytes() in seen for row in tests.unseen.x) < 5  # but for twins
    federated = train_centrally(case.job, pool([device.train for device in devices]))
    compared = demo.compare(case, devices, tests, federated, lambda _: None)
    by_name = {row.name: row.accuracies for row in compared}
    assert by_name["federated"] == by_name["all data pooled"]  # here they are the same model
    alone = [row.accuracies for row in compared if row.name.startswith("device ")]
    assert by_name["alone, mean"] == pytest.approx(np.mean(alone, axis=0))

    history = History()
    assert list(record(RUN, history)) == RUN
    verdicts = [demo.Verdict(met=False, text="unseen digits: 3 points short")]
    write_report(tmp_path, case, federated, history, compared, verdicts)
    page = (tmp_path / "report.html").read_text()
    assert '<li class="short">unseen digits: 3 points short</li>' in page
    assert page.count("<svg") == 2
    assert load_job(tmp_path / "job.toml").name == "digits"
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (labels,) = session.run(["label"], {"features": tests.unseen.x})
    assert (labels == tests.unseen.y).mean() == pytest.approx(by_name["federated"][0], abs=1e-3)
    np.testing.assert_array_equal(load_model(tmp_path / "model.fedloom").weights, federated.weights)


def test_the_report_counts_the_weights_that_are_sent(case: demo.Case) -> None:
    whole = case.job.model.layout().size
    assert dict(facts(case, History()))["weights"] == f"{whole:,} sent as float32"
    partly = case._replace(job=msgspec.structs.replace(case.job, personal=Personal("head")))
    kept = (case.job.model.widths[-2] + 1) * case.job.model.outputs
    assert dict(facts(partly, History()))["weights"] == f"{whole:,}, {whole - kept:,} of them sent as float32"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_says_what_happened(case: demo.Case, is_terminal: bool) -> None:
    out = io.StringIO()
    follow(RUN, case.job, Console(file=out, force_terminal=is_terminal, width=200))
    assert "device-02: declined (data.csv: line 3 is ragged)" in out.getvalue()
    if not is_terminal:
        assert "round 2 (train) aborted: late" in out.getvalue()
        assert "round 1 of 2: 3 updates in 20 ms, training loss 0.1, accuracy 70.0%" in out.getvalue()


def test_sources_are_the_data_files_of_a_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv.gz", "c.npz", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_sources(tmp_path, 0)] == ["a.csv.gz", "b.csv", "c.npz"]
    assert [path.name for path in find_sources(tmp_path, 2)] == ["a.csv.gz", "b.csv"]
    with pytest.raises(InputError, match="holds 3 data files for 4 devices"):
        find_sources(tmp_path, 4)
    with pytest.raises(InputError, match="there is no such folder"):
        find_sources(tmp_path / "none", 0)
    with pytest.raises(InputError, match=r"a.csv.gz: is a file, not a folder; name the folder with --data"):
        find_sources(tmp_path / "a.csv.gz", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no data file; add files ending in .csv"):
        find_sources(tmp_path / "empty", 0)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("[rounds]\ncount = 1\ndevices = 3\n", "waits for 3 devices, but there are 2 data files"),
        (
            '[rounds]\ncount = 1\n[cohort]\nrequire = ["site"]\n',
            "cohort.require: the devices of a simulation have no lab",
        ),
        ('[rounds]\ncount = 1\n[strategy]\nname = "fedavgg"\n', "did you mean 'fedavg'"),
        ('[rounds]\ncount = 1\n[cohort]\nname = "class-balance"\n', "balances classes, and a regression has none"),
        ('[rounds]\ncount = 1\n[strategy]\nname = "fltrust"\n', r"no samples; .* simulate --root-set"),
    ],
)
def test_a_job_that_no_simulation_could_begin_is_refused(tmp_path: Path, table: str, problem: str) -> None:
    path = tmp_path / "job.toml"
    head = 'name = "line"\n[model]\ninputs = 1\noutputs = 1\n[data]\nfeatures = ["x"]\ntarget = "y"\n'
    path.write_text(f'{head}[training]\nloss = "mse"\n{table}')
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "data" / name).touch()
    with pytest.raises(InputError, match=problem):
        simulate(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("root_set", "problem"),
    [("root.csv", "root.csv: y: the file has no 'y'"), ("data/a.csv", "--root-set: would be the data of a device")],
)
def test_a_root_set_that_is_none_is_refused(tmp_path: Path, root_set: str, problem: str) -> None:
    path = tmp_path / "job.toml"
    head = 'name = "line"\n[model]\ninputs = 1\noutputs = 1\n[data]\nfeatures = ["x"]\ntarget = "y"\n'
    path.write_text(f'{head}[training]\nloss = "mse"\n[rounds]\ncount = 1\n[strategy]\nname = "fltrust"\n')
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "b.csv"):
        (tmp_path / "data" / name).write_text("x,y\n1,2\n")
    (tmp_path / "root.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match=problem):
        simulate(path, root_set=tmp_path / root_set, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
