"""The peer is the version that constraints.txt says, so that what the other tests compare with is known."""

from importlib.metadata import version

import tracked


def test_flwr_is_the_version_that_we_name() -> None:
    assert f"\nflwr=={version('flwr')}\n" in (tracked.ROOT / "constraints.txt").read_text()
