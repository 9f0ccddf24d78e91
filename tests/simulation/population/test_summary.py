"""How unlike clients are: in figures, in a picture, and as a command."""

import json

import numpy as np
import pytest
from jobs import job

from fedloom.command import main
from fedloom.learning.dataset import Dataset
from simulation import partition_cli
from simulation.population.base import Samples
from simulation.population.build import build
from simulation.population.dealt import Dealt
from simulation.population.plot import figure
from simulation.population.rows import offsets
from simulation.population.summary import SHOWN, Summary, summarise


def of_labels(*clients: list[int]) -> Dealt:
    labels = np.concatenate([np.array(each) for each in clients])
    pool = Dataset(np.zeros((len(labels), 1), np.float32), labels)
    train = Samples(np.arange(len(labels)), offsets(np.array([len(each) for each in clients])))
    return Dealt(pool, None, train, Samples(np.zeros(0, np.intp), np.zeros(len(clients) + 1, np.intp)))


def test_figures_of_a_small_population() -> None:
    summary = summarise(of_labels([0, 0, 0, 1], [1, 1], [0, 1]), 3, 0)
    assert summary.counts.tolist() == [[3, 1, 0], [0, 2, 0], [1, 1, 0]]
    assert summary.present.tolist() == [2, 1, 2]
    assert (summary.training.tolist(), summary.holdout.tolist(), summary.test) == ([4, 2, 2], [0, 0, 0], 0)
    assert summary.skew == pytest.approx((0.25 + 0.5 + 0.0) / 3)


@pytest.mark.parametrize(("clients", "skew"), [(([0, 1], [1, 0]), 0.0), (([0, 0], [1, 1]), 0.5)])
def test_skew_is_nothing_where_all_are_alike(clients, skew) -> None:
    assert summarise(of_labels(*clients), 2, 0).skew == pytest.approx(skew)


def test_of_very_many_clients_some_are_looked_at(tmp_path) -> None:
    asked = job({"dataset": "digits", "clients": 10_000_000, "samples": 5})
    summary = summarise(build(asked, tmp_path / "job.toml", 0), 10, 0)
    assert summary.clients == 10_000_000
    assert len(np.unique(summary.ids)) == SHOWN
    assert summary.ids.max() > 9_000_000
    assert (np.diff(summary.ids) > 0).all()


def drawn(clients: int, classes: int) -> Summary:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, (clients, classes)) if classes else None
    sizes = counts.sum(1) if classes else rng.integers(1, 9, clients)
    return Summary(2 * clients, np.arange(clients), sizes, sizes, 0, counts)


@pytest.mark.parametrize(("clients", "classes"), [(20, 3), (300, 3), (20, 0), (300, 0), (5, 40)])
def test_a_picture_shows_every_sample(clients, classes) -> None:
    summary = drawn(clients, classes)
    picture = figure(summary, [str(number) for number in range(classes)], "tested")
    sizes = picture.axes[0]
    if clients <= 100:
        assert sum(bar.get_height() for bar in sizes.patches) == summary.training.sum()
        assert len(sizes.patches) == clients * max(1, classes)
    else:
        assert sizes.get_ylim()[1] >= summary.training.max()
        assert picture.axes[-1 if not classes else 1].get_xlabel() == "300 of 600 clients, by size"
    assert len(picture.axes) == (3 if classes else 1)  # sizes, mixtures and their scale
    if classes:
        assert picture.axes[1].images[0].get_array().shape == (classes, clients)


JOB = """
name = "digits"
[model]
inputs = 64
outputs = 10
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[training]
loss = "cross_entropy"
[rounds]
count = 1
[simulation]
dataset = "digits"
clients = 10
test_fraction = 0.2
[simulation.partition]
method = "shards"
"""


@pytest.fixture
def partition(tmp_path, capsys):
    """Runs `fedloom partition` on a job in this process."""
    (tmp_path / "job.toml").write_text(JOB)

    def run(*options: str) -> tuple[int, str, str]:
        try:
            status = main(["partition", str(tmp_path / "job.toml"), *options])
        except SystemExit as end:  # how Typer ends a command
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    return run


def test_the_command_prints_a_table_and_draws(partition, tmp_path) -> None:
    status, said, _ = partition("--out", str(tmp_path / "p.png"))
    assert status == 0
    assert "digits, shards: 10 clients" in said
    assert "test samples that nobody has: 359" in said
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_as_json(partition) -> None:
    figures = json.loads(partition("--json")[1])
    assert (figures["clients"], figures["looked_at"], figures["test"]) == (10, 10, 359)
    assert figures["training"]["mean"] * 10 + figures["holdout"]["mean"] * 10 == pytest.approx(1797 - 359)
    assert sum(figures["samples_by_class"].values()) == figures["training"]["mean"] * 10
    assert figures["classes"]["largest"] <= 4
    assert figures["skew"] > 0.6


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p.gif", "p.gif: --out: is no picture that can be written; end it in .png, .svg, .pdf"),
        ("nowhere/p.png", "nowhere/p.png: --out: there is no folder nowhere; run: mkdir -p nowhere"),
        ("job.toml/p.png", "job.toml/p.png: --out: job.toml is a file, not a folder; choose another folder"),
        ("folder.png", "folder.png: --out: is a folder; name a file in it"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_any_work(
    partition, tmp_path, monkeypatch, name, said
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(partition_cli, "build", None)  # nobody calls it
    (tmp_path / "folder.png").mkdir()
    assert partition("--out", name) == (2, "", f"fedloom: error: {said}\n")
