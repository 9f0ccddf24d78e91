"""What both sides run in: environment variables, and a virtual environment each."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
DEVICE_ENVIRONMENT = HERE / ".device-env"
PEER_REQUIREMENT = "flwr==1.41.0"

_PEER_VERSION = "from importlib.metadata import version; print(version('flwr'))"
# Asks the OpenBLAS that numpy has loaded; its wheels prefix and suffix the symbol.
_CORE_TYPE = """
import ctypes, numpy
paths = [line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line]
library = ctypes.CDLL(paths[0]) if paths else None
names = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename")
name = next((name for name in names if hasattr(library, name)), None)
if name:
    getattr(library, name).restype = ctypes.c_char_p
print(numpy.__version__, getattr(library, name)().decode() if name else "unknown")
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """How to come by the peer."""
    where = f"{_peer_directory('flwr').relative_to(PROJECT)}, made on first use"
    parser.add_argument("--peer-python", metavar="PATH", help=f"Python of an environment with flwr (default: {where})")
    parser.add_argument("--skip-peer", action="store_true", help="measure fedloom only")


def prepare() -> None:
    """Call first. One BLAS thread a process, its kernels chosen by the processor; SIGTERM unwinds like Ctrl-C.

    And bytecode is kept, as of every installed package: else a start is measured with compiling its source.
    """
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def headline(ours: Path, peer: Path | None) -> str:
    """The line above every table."""
    cores = len(os.sched_getaffinity(0))
    sides = [f"fedloom: {_blas(ours)}"]
    if peer:
        sides.append(f"flwr {_ask(peer, _PEER_VERSION)}: {_blas(peer)}")
    return "\n".join([f"{cores} cores, one BLAS thread a process", *sides])


def _blas(python: Path) -> str:
    """numpy's version there, and the core type that its OpenBLAS has chosen."""
    version, core = _ask(python, _CORE_TYPE).split()
    return f"numpy {version}, OpenBLAS core type {core}"


def _ask(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def device_python() -> Path:
    """The Python of a bare environment with fedloom as it is now and its dependencies, and nothing else."""
    return _environment(DEVICE_ENVIRONMENT, "-c", str(PROJECT / "constraints.txt"), str(PROJECT))


def peer_python(options: argparse.Namespace) -> Path | None:
    """The Python of an environment with flwr: the one given, or the benchmarks' own, made on first use."""
    if options.skip_peer:
        return None
    if options.peer_python:
        return Path(options.peer_python).absolute()
    return environment_of("flwr", PEER_REQUIREMENT)


def environment_of(peer: str, *requirement: str) -> Path:
    """The Python of the peer's environment, made on first use.

    Raises:
        CalledProcessError: pip cannot install it here.
    """
    directory = _peer_directory(peer)
    python = directory / "bin" / "python"
    return python if (directory / ".ready").exists() else _environment(directory, *requirement)


def _peer_directory(peer: str) -> Path:
    return HERE / f".peer-{peer}"


def _environment(directory: Path, *requirement: str) -> Path:
    """A virtual environment without pip of its own; what is there already is brought up to date."""
    python = directory / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    print(f"bringing {directory.relative_to(PROJECT)}/ up to date", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *requirement]
    subprocess.run(command, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (directory / ".ready").touch()
    return python


def installed_mb(python: Path) -> float:
    """Size of site-packages on disk, in MB of 10^6 bytes, without the installers that `python -m venv` puts there."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = ["du", "--summarize", "--block-size=1", "--exclude=pip*", "--exclude=setuptools*", _ask(python, code)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) / 1e6
