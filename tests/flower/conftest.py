"""Tests beside Flower, which `make flower` runs in an environment with flwr: elsewhere none of them is collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("flwr") else ["test_*.py"]
