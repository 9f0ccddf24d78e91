"""What `simulation.py` asks of every side, and how each tells what it took. Needs numpy alone: it runs everywhere.

A side is a script that takes a task as JSON and prints a line of JSON. All have the same data, the same first weights
and the same work: a round in which every client takes an epoch of SGD with a learning rate of 0.1 and the new model is
the mean. What the loss has fallen by in the first round says that it was done.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

RATE = 0.1
DISTINCT = 100
"""Clients with data of their own: beyond that, client i has those of client i mod DISTINCT, as memory is finite."""
_JUDGED = 6000
_SHARE_OF_ZEROS = 0.8


class Task(NamedTuple):
    """The fields of the JSON."""

    widths: list[int]
    """Inputs, hidden layers (ReLU), outputs. One output: linear regression; more: classes."""
    samples: int
    """Of each client."""
    batch: int
    clients: int
    """In a round; they are all that there are."""
    seconds: float
    """After which no further round is begun."""
    setting: str
    """One of the ways in which a side can be run."""

    @property
    def is_regression(self) -> bool:
        """Else classes."""
        return self.widths[-1] == 1


class Data(NamedTuple):
    """Of one client, or of all that have data of their own."""

    x: Array
    """(n, inputs)"""
    y: NDArray[Any]
    """(n,) class numbers, or float32 targets."""


def from_arguments() -> Task:
    """Of this process."""
    return Task(**json.loads(sys.argv[1]))


def data(task: Task) -> list[Data]:
    """Of each client with data of its own; a linear teacher decides."""
    rng, clients = np.random.default_rng(1), min(task.clients, DISTINCT)
    n, inputs, outputs = clients * task.samples, task.widths[0], task.widths[-1]
    x = rng.random((n, inputs), np.float32)
    if task.is_regression:
        x -= np.float32(0.5)
        y = x @ rng.standard_normal(inputs).astype(np.float32)
    else:
        x[rng.random((n, inputs), np.float32) < _SHARE_OF_ZEROS] = 0.0  # as in images of digits
        y = ((x - x.mean()) @ rng.standard_normal((inputs, outputs)).astype(np.float32)).argmax(axis=1)
    return [Data(*pair) for pair in zip(np.split(x, clients), np.split(y, clients), strict=True)]


def initial(task: Task) -> list[Array]:
    """[W (fan in, fan out), b (fan out,), …]."""
    rng = np.random.default_rng(0)
    arrays = []
    for fan_in, fan_out in pairwise(task.widths):
        arrays += [rng.standard_normal((fan_in, fan_out), np.float32) * np.float32((2.0 / fan_in) ** 0.5)]
        arrays += [np.zeros(fan_out, np.float32)]
    return arrays


def loss(task: Task, arrays: Sequence[Array], clients: Sequence[Data]) -> float:
    """Mean over some thousand samples of what is minimised: cross-entropy, or half the squared error."""
    needed = clients[: -(-_JUDGED // task.samples)]
    out, y = np.concatenate([each.x for each in needed]), np.concatenate([each.y for each in needed])
    for layer in range(0, len(arrays), 2):
        out = out @ arrays[layer] + arrays[layer + 1]
        if layer < len(arrays) - 2:
            out = np.maximum(out, 0)
    if task.is_regression:
        return float(0.5 * np.mean((out[:, 0] - y) ** 2))
    out = out - out.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(out).sum(axis=1)) - out[np.arange(len(y)), y]))


class Meter:
    """Counts rounds, and tells of them."""

    def __init__(self, task: Task, versions: Mapping[str, str]) -> None:
        self._task, self._versions = task, versions
        self._times: list[float] = []
        self._cold_s = self._learnt = 0.0
        self._began_s = self._first_s = 0.0

    def first(self, arrays: Sequence[Array], clients: Sequence[Data]) -> None:
        """The first round is over, with this model; the next one begins now."""
        self._cold_s = time.clock_gettime(time.CLOCK_BOOTTIME) - _exec_s()
        self._learnt = loss(self._task, initial(self._task), clients) - loss(self._task, arrays, clients)
        self._first_s = self._began_s = time.perf_counter()

    def further(self) -> bool:
        """A further round is over; whether there is time for another one."""
        now_s = time.perf_counter()
        self._times.append(now_s - self._began_s)
        self._began_s = now_s
        return now_s - self._first_s < self._task.seconds

    def tell(self) -> None:
        """Print all."""
        best_s = min(self._times)
        found = {
            "client_rounds_per_s": self._task.clients / best_s,
            "best_s": best_s,
            "rounds": len(self._times),
            "cold_s": self._cold_s,
            "learnt": self._learnt,
            "versions": {"numpy": np.__version__, **self._versions},
            "core": core_type(),
            "setting": self._task.setting,
        }
        print(json.dumps(found), flush=True)


def run(task: Task, versions: Mapping[str, str], clients: list[Data], a_round: Callable[[], Sequence[Array]]) -> None:
    """For sides that are called for each round and hand back the model."""
    meter = Meter(task, versions)
    meter.first(a_round(), clients)
    is_time = True
    while is_time:
        a_round()
        is_time = meter.further()
    meter.tell()


def core_type() -> str:
    """The kernels that numpy's OpenBLAS has chosen; its wheels prefix and suffix the symbol."""
    paths = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "openblas" in line]
    library = ctypes.CDLL(paths[0]) if paths else None
    for name in ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename"):
        if library and hasattr(library, name):
            function = getattr(library, name)
            function.restype = ctypes.c_char_p
            return str(function().decode())
    return "unknown"


def _exec_s() -> float:
    """When this process was started, since boot."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
