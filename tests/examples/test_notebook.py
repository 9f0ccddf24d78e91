"""The notebook runs from its first cell to its last, and shows what it says."""

import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from fedloom.job import load_job
from fedloom.job.variants import variants

FOLDER = Path(__file__).parents[2] / "examples" / "notebook"
NOTEBOOK = json.loads((FOLDER / "simulation.ipynb").read_text())


def test_the_notebook_is_one_and_carries_no_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_its_cells_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    names: dict[str, object] = {}
    with mpl.rc_context({"backend": "agg"}):
        for cell in NOTEBOOK["cells"]:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        axes = [plt.figure(number).axes[0] for number in plt.get_fignums()]
        assert [len(each.lines) > 2 for each in axes] == [True, True]
        plt.close("all")
    assert names["history"].best("test_accuracy").value > 0.9  # type: ignore[attr-defined]
    assert 1 < names["rounds"] < 30  # type: ignore[operator]
    runs = names["runs"]
    assert runs[0.1].best("test_accuracy").value < runs[10.0].best("test_accuracy").value  # type: ignore[index]


def test_its_job_can_be_compared_as_it_says() -> None:
    assert len(variants(load_job(FOLDER / "job.toml"), "")) == 12
