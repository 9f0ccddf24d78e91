"""Every data set and every partition is in its table of docs/simulation.md, and each command that gets one."""

import re
from typing import get_args

import pytest
import tracked

from fedloom.simulated import Method
from simulation.population import images, stored
from simulation.population.catalogue import NAMES

PAGE = (tracked.ROOT / "docs" / "simulation.md").read_text()


@pytest.mark.parametrize("name", [*NAMES, *get_args(Method)])
def test_a_name_has_its_row(name) -> None:
    assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE), f"docs/simulation.md has no row for {name}"


@pytest.mark.parametrize("name", images.SETS)
def test_the_command_that_gets_a_set_is_the_one_that_errors_name(name) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert row
    assert images.SETS[name].install in row[0]


def test_the_kinds_of_file_and_the_size_that_is_mapped() -> None:
    assert stored.PARQUET in PAGE
    assert f"{stored.MAPPED_BYTES >> 20} MiB or more" in PAGE
