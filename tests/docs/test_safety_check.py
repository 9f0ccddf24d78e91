"""The safety check finds each unsafe reader and each guessable secret, by whatever name, and nothing else."""

import subprocess
import sys
from pathlib import Path

import check_safety
import pytest

UNSAFE = {
    "import pickle": "pickle",
    "import cloudpickle as cp": "cloudpickle",
    "from dill import loads": "dill",
    "import marshal": "marshal",
    "import shelve": "shelve",
    "import joblib": "joblib",
    "import numpy as np\nnp.load(path)": "numpy.load",
    "import numpy as np\nnp.load(path, allow_pickle=True)": "numpy.load",
    "import numpy as np\nnp.load(path, allow_pickle=flag)": "numpy.load",
    "from numpy import load as read\nread(path)": "numpy.load",
    "import numpy\nreaders = [numpy.load]": "numpy.load",
    "from numpy.lib import format as npy\nnpy.read_array(stream)": "numpy.lib.format.read_array",
    "def read(path):\n    import torch\n    return torch.load(path)": "torch.load",
    "import torch\ntorch.load(path, weights_only=False)": "torch.load",
    "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)": "yaml.load",
    "import yaml\nyaml.full_load(text)": "yaml.full_load",
    "eval(text)": "eval",
    "run = exec": "exec",
    "import builtins\nbuiltins.eval(text)": "builtins.eval",
    "def read():\n    return pickle.loads(b'')\nimport pickle": "pickle",
    "import tarfile": "tarfile",
    "from shutil import unpack_archive": "shutil.unpack_archive",
    "import zipfile\nzipfile.ZipFile(path).extractall(out)": "extractall",
    "import zipfile\nwith zipfile.ZipFile(path) as archive:\n    archive.extract(name)": "extract",
}

SAFE = [
    "import numpy as np\nnp.load(path, allow_pickle=False)",
    "from numpy import load\nload(open(path), allow_pickle=False)",
    "from numpy.lib import format as npy\nnpy.read_array(stream, allow_pickle=False)",
    "import torch\ntorch.load(path, weights_only=True)",
    "import yaml\nyaml.safe_load(text)",
    "model.eval()\nself.exec(1)\nregex.extract(1)",
    "import zipfile\nzipfile.ZipFile(path).open(name).read(10)",
    "pickle = 3\nprint(pickle)",
    "'import pickle'  # import pickle",
]

GUESSABLE = {
    "import random": "random",
    "from random import SystemRandom": "random",
    "import numpy as np\nnp.random.bytes(32)": "numpy.random",
    "from numpy.random import default_rng": "numpy.random",
    "from numpy import random as draw": "numpy.random",
}

SECRET_PATHS = [
    "fedloom/trust/keys.py",
    "fedloom/wire/new.py",
    "aggregator/new.py",
    "edge_client/new/part.py",
    "fedloom/secagg/masks.py",
    "strategies/privacy_noise.py",
]


def names(source: str, path: str) -> set[str]:
    return {finding.name for finding in check_safety.findings(source, path)}


@pytest.mark.parametrize(("source", "found"), UNSAFE.items())
def test_unsafe_readers(source: str, found: str) -> None:
    assert names(source, "strategies/new.py") == {found}


@pytest.mark.parametrize("source", SAFE)
def test_what_is_safe(source: str) -> None:
    assert names(source, "fedloom/trust/new.py") == set()


@pytest.mark.parametrize(("source", "found"), GUESSABLE.items())
@pytest.mark.parametrize("path", SECRET_PATHS)
def test_guessable_secrets(source: str, found: str, path: str) -> None:
    assert names(source, path) == {found}


@pytest.mark.parametrize("source", GUESSABLE)
def test_simulated_chance_may_be_guessable(source: str) -> None:
    assert names(source, "fedloom/learning/initialise.py") == set()


def test_a_problem_names_the_line_and_the_remedy_and_only_shipped_code_is_looked_at(tmp_path: Path) -> None:
    for name in ("fedloom/a.py", "tests/a.py", "fedloom/a.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\nimport pickle\n")
    found = check_safety.problems(tmp_path, sorted(tmp_path.rglob("*.*")))
    assert found[0].startswith("fedloom/a.py:2: pickle runs whatever code its input names; use fedloom.msgpack")
    assert len(found) == 1 + len(check_safety.EXCEPTIONS)
    assert all("take it out of EXCEPTIONS" in line for line in found[1:])


def test_every_exception_is_needed_and_nothing_else_is_unsafe() -> None:
    command = [sys.executable, "scripts/check_safety.py"]
    done = subprocess.run(command, cwd=check_safety.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "nothing unsafe is read, no secret can be guessed\n")
