"""The demo's second case: scikit-learn's handwritten digits, dealt out so that each device sees its own mixture."""

import subprocess
import sys
from pathlib import Path

from fedloom.errors import InputError
from fedloom.job import load_job
from simulation.demo import Case

DEVICES = 5
UNSEEN = "0.2"


def digits_case(examples: Path, directory: Path) -> Case:
    """Five devices with skewed labels (Dirichlet 0.5); a fifth of the digits is on none of them."""
    folder, data = examples / "digits_mlp", directory / "data"
    make = [sys.executable, str(folder / "make_data.py"), "--out", str(data), "--devices", str(DEVICES), "--skew"]
    made = subprocess.run([*make, "--unseen", UNSEEN], check=False, capture_output=True, text=True)
    if made.returncode:
        problem = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InputError(str(folder / "make_data.py"), "", f"failed: {problem}", "pip install 'fedloom[sim]'")
    return Case(
        "Five devices learn to read digits together",
        "Each device sees its own mixture of handwritten digits, some hardly ever; a fifth of all digits is on none of "
        "them.",
        folder / "job.toml",
        load_job(folder / "job.toml"),
        sorted(data.glob("device-*.npz")),
        [data / "unseen" / "digits.npz"],
        "unseen digits",
        "everybody's own hold-out",
    )
