"""The commands as a user runs them: their output, their errors, their exit status."""

import json
import signal
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from fedloom import __version__
from fedloom.command import main
from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.spec import ModelSpec


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def fedloom(tmp_path, monkeypatch, capsys):
    """Runs `fedloom …` in a directory of its own, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:  # how Typer ends a command
            status = end.code or 0
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def fedloom_process(tmp_path):
    """Runs `fedloom …` in a directory and a process of its own."""

    def run(*arguments):
        command = [sys.executable, "-m", "fedloom.command", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "job.toml").write_text(
        'name = "line"\n[model]\ninputs = 1\noutputs = 1\n[data]\nfeatures = ["x"]\ntarget = "y"\n'
        '[training]\nloss = "mse"\n[rounds]\ncount = 1\n'
    )
    (tmp_path / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "127.0.0.1"\nport = 1\n')
    return tmp_path


def test_help_and_version(fedloom):
    assert fedloom("--version").stdout == f"fedloom {__version__}\n"
    listing = fedloom("--help").stdout
    assert all(name in listing for name in ("aggregator", "device", "job", "model", "simulate", "demo"))
    assert fedloom().returncode == 2


def test_an_unknown_command(fedloom):
    result = fedloom("agregator")
    assert result.returncode == 2
    assert result.stderr.startswith("fedloom: error: agregator: is no command; commands are")
    assert result.stderr.count("\n") == 1


def test_from_nothing_to_a_device(fedloom, configured):
    made = fedloom("aggregator", "init", "--suite", "x25519")
    assert made.stdout.startswith("federation ")
    again = fedloom("aggregator", "init")
    assert (again.returncode, again.stdout) == (2, "")
    assert "is there already" in again.stderr
    assert fedloom("device", "new", "gate-7", "--out", "gate-7").returncode == 0
    assert "port = 1\n" in (configured / "gate-7" / "edge.toml").read_text()
    taken = fedloom("device", "new", "gate-7", "--out", "other")
    assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
    assert not (configured / "other").exists()
    assert fedloom("device", "revoke", "gate-7").returncode == 0
    assert "'nobody' is not known" in fedloom("device", "revoke", "nobody").stderr
    assert "fedloom broker config" in fedloom("device", "revoke", "gate-7").stdout
    listed = json.loads(fedloom("device", "list", "--json").stdout)
    assert [(row["name"], row["revoked"], row["state"]) for row in listed] == [("gate-7", True, "revoked")]
    status = json.loads(fedloom("aggregator", "status", "--json").stdout)
    assert (status["devices"], status["revoked"], status["job"]) == (1, 1, "")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("device", "list"), 2, "there is no federation here; make one with: fedloom aggregator init"),
        (("device", "new", "a/b", "--out", "x"), 2, "is not a name"),
        (("aggregator", "status", "--config", "none.toml"), 2, "there is no such file"),
        (("job", "check", "none.toml"), 2, "there is no such file"),
        (("model", "show", "job.toml"), 2, "is not a sound fedloom model"),
        (("model", "export", "none.fedloom"), 2, "cannot be read"),
    ],
)
def test_mistakes_are_one_line(fedloom, configured, arguments, status, words):
    result = fedloom(*arguments)
    assert result.returncode == status
    assert result.stderr.startswith("fedloom: error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_directory_that_cannot_be_made_is_one_line(fedloom, configured):
    (configured / "state").write_text("a file where the state directory is to be")
    result = fedloom("aggregator", "init")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{configured / 'state'}: " in result.stderr


def test_a_misspelt_key_gets_a_suggestion(fedloom, configured):
    path = configured / "aggregator.toml"
    path.write_text("stat = 'x'\n" + path.read_text())
    result = fedloom("aggregator", "status")
    assert result.returncode == 2
    assert "did you mean 'state'?" in result.stderr


def test_a_run_without_keys_or_with_keys_that_others_can_read_is_refused(fedloom, fedloom_process, configured):
    result = fedloom_process("aggregator", "run")
    assert result.returncode == 2
    assert not (configured / "state").exists()
    assert "fedloom aggregator init" in result.stderr
    fedloom("aggregator", "init", "--suite", "x25519")
    (configured / "state" / "keys" / "aggregator.key").chmod(0o644)
    result = fedloom_process("aggregator", "run")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "chmod 600" in result.stderr


def test_sigterm_ends_a_run_cleanly(fedloom, configured):
    fedloom("aggregator", "init", "--suite", "x25519")
    command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--json"]
    with subprocess.Popen(command, cwd=configured, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert json.loads(process.stdout.readline())["event"] == "aggregator"
        process.send_signal(signal.SIGHUP)  # looks at the devices again, and goes on
        process.terminate()
        assert process.wait(20) == 0


def test_a_job_is_checked(fedloom, configured):
    assert "job line is right: 2 weights, 1 rounds, fedavg" in fedloom("job", "check", "job.toml").stdout
    path = configured / "job.toml"
    path.write_text(path.read_text().replace('loss = "mse"', 'loss = "mse"\nlearning_rate = -1'))
    result = fedloom("job", "check", "job.toml")
    assert result.returncode == 2
    assert "training.learning_rate" in result.stderr


def test_models_are_shown_and_exported(fedloom, tmp_path):
    model = Model(spec=ModelSpec(inputs=1, outputs=1), loss="mse", weights=np.ones(2, np.float32), meta={"round": "3"})
    save(model, tmp_path / "m.fedloom")
    assert "layers: 1 → 1" in fedloom("model", "show", "m.fedloom").stdout
    assert json.loads(fedloom("model", "show", "m.fedloom", "--json").stdout)["notes"] == {"round": "3"}
    assert fedloom("model", "export", "m.fedloom").stdout == "m.onnx\n"
    assert (tmp_path / "m.onnx").stat().st_size > 0


@pytest.mark.parametrize(
    "command",
    ["aggregator init", "aggregator run", "device new", "device approve", "job check", "model export", "token new"],
)
def test_every_help_has_an_example(fedloom, command):
    result = fedloom(*command.split(), "--help")
    assert result.returncode == 0
    assert f"fedloom {command}" in result.stdout.split("Example", 1)[1]


def test_a_missing_extra_is_named(tmp_path):
    script = "import sys; sys.modules['typer'] = None; from fedloom.command import main; sys.exit(main(['job']))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "pip install 'fedloom[server]'" in result.stderr


def test_the_command_itself_imports_next_to_nothing():
    script = (
        "import sys, fedloom.command; "
        "print([m for m in ('typer', 'numpy', 'sqlalchemy', 'asyncio', 'rich', 'aggregator') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_a_start_neither_imports_nor_looks_through_what_it_does_not_need(tmp_path):
    """A killed aggregator is to be back within a second."""
    script = (
        "import gc, sys; from fedloom.command import main\n"
        "try: main(['aggregator', 'run', '--config', 'missing.toml'])\n"
        "except SystemExit: pass\n"
        "unused = ('alembic', 'rich', 'torch', 'fedloom.learning.onnx_import', 'fedloom.learning.onnx_export')\n"
        "print([m for m in unused if m in sys.modules], gc.get_freeze_count() > 10_000, gc.isenabled())"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "[] True True\n", result.stderr
