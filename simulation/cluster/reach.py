"""Whether a Ray cluster answers, known within seconds: Ray itself tries for minutes."""

import socket
import subprocess
import sys

from fedloom.errors import InputError

_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 30.0
_PROBE = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"


def check_reachable(address: str, where: str, answer_timeout_s: float = _ANSWER_TIMEOUT_S) -> None:
    """Connect once, in a process that can be ended.

    Raises:
        InputError: nothing listens there, or it is no cluster that this program can work with; in `where`.
    """
    if address != "auto":
        _check_listens(address, where)
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=answer_timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise _unreachable(address, where, f"no Ray cluster answers within {answer_timeout_s:.0f} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise _unreachable(address, where, said[-1].strip())


def _check_listens(address: str, where: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InputError(where, "--address", f"{address!r} is no address", 'write HOST:PORT, or "auto"')
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, where, f"nothing listens there ({error})") from None


def _unreachable(address: str, where: str, problem: str) -> InputError:
    remedy = "start one with `ray start --head`, and join it from this machine with `ray start --address=HOST:PORT`"
    return InputError(where, "--address", f"{address}: {problem}", remedy)
