"""More machines than one: as many nodes, of which each has processes and an object store of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from simulation.cluster.entry import prepare


@pytest.mark.slow
def test_a_lost_machines_chunks_are_done_again_on_another() -> None:
    prepare()
    script = Path(__file__).with_name("two_nodes.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as place:  # Ray's sockets need a short path
        done = subprocess.run(
            [sys.executable, str(script), place],
            capture_output=True,
            text=True,
            timeout=240,
            env=environment,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"same": True, "workers": 2, "left": 0}
    assert "worker.lost again=1: round 1, task " in done.stderr
