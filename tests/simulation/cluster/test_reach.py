"""Where no cluster is, it is told within seconds."""

import socket
import subprocess

import pytest
import ray

from fedloom.errors import InputError
from simulation.cluster.connection import Cluster, connected
from simulation.cluster.reach import check_reachable


def test_what_listens_and_says_nothing_is_no_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        message = (
            rf"engine ray: --address: {address}: no Ray cluster answers within 1 s; start one with `ray start --head`"
        )
        with pytest.raises(InputError, match=message):
            check_reachable(address, "engine ray", answer_timeout_s=1.0)


def test_where_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(
        InputError, match=rf"{address}: nothing listens there .*refused.*; start one with `ray start --head`"
    ):
        check_reachable(address, "engine ray")


@pytest.mark.parametrize("address", ["here", "host:", "host:port", ":1", "ray://host:10001"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match=r"is no address; write HOST:PORT, or \"auto\""):
        check_reachable(address, "engine ray")


def test_what_ray_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess(
        [], 1, "", "Traceback\n  …\nConnectionError: Could not find any running Ray.\n\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(InputError, match=r"auto: ConnectionError: Could not find any running Ray\.; start"):
        check_reachable("auto", "engine ray")


def test_one_connection_at_a_time(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="connected to a cluster already"), connected("127.0.0.1:1", 1):
        pass
    assert ray.is_initialized()
