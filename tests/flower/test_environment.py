"""Flower and Ray are the versions that constraints.txt says, so that what the other tests compare with is known."""

from importlib.metadata import version

import pytest
import tracked


@pytest.mark.parametrize("name", ["flwr", "ray"])
def test_it_is_the_version_that_we_name(name: str) -> None:
    assert f"\n{name}=={version(name)}\n" in (tracked.ROOT / "constraints.txt").read_text()
