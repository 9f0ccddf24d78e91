"""What is not installed is told with the extra that brings it, before the work."""

import sys

import pytest

from fedloom.command import main

JOB = """
name = "iris"
[model]
inputs = 4
outputs = 3
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2"]
[training]
loss = "cross_entropy"
[rounds]
count = 1
[simulation]
dataset = "iris"
clients = 4
"""


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("sklearn", ["simulate"], "data set iris: sklearn is not installed; run: pip install 'fedloom[sim]'"),
        (
            "matplotlib",
            ["partition", "--out", "p.png"],
            "partition --out: matplotlib is not installed; run: pip install",
        ),
        ("matplotlib", ["compare", "--out", "new"], "compare --out: matplotlib is not installed; run: pip install 'fe"),
    ],
)
def test_what_is_not_installed_is_told_with_its_extra(tmp_path, monkeypatch, capsys, module, arguments, said) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(JOB)
    monkeypatch.setitem(sys.modules, module, None)
    assert main([arguments[0], "job.toml", *arguments[1:]]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["job.toml"]
