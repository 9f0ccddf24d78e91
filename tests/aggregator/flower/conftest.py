"""An aggregator with a strategy of Flower, which `make flower` runs as it does tests/flower."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("flwr") else ["test_*.py"]
