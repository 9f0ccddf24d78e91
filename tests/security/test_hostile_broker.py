"""A hostile broker between a real federation and a real Mosquitto: whatever it does, the invariants hold.

One federation lasts for all scripts; one that did not survive a script is replaced. The scripts are in adversary.table.
"""

import re
from pathlib import Path

import pytest
from adversary.arena import Arena, judge
from adversary.entry_table import ENTRIES
from adversary.page import page
from adversary.table import CASES, in_order

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hostile-broker.md"


@pytest.fixture(scope="module")
def arenas(tmp_path_factory):
    """The arena that is in use, as a list of one."""
    found = []
    yield found
    for arena in found:
        arena.__exit__()


@pytest.fixture
def arena_for(arenas, tmp_path_factory):
    """The arena for a case."""

    def find(case):
        if arenas and not arenas[0].suits(case):
            arenas.pop().__exit__()
        if not arenas:
            arenas.append(Arena(tmp_path_factory.mktemp("arena") / "all").__enter__())
        return arenas[0]

    return find


@pytest.mark.parametrize("case", in_order(), ids=lambda case: re.sub(r"\W+", "-", case.name))
def test_the_invariants_hold(arena_for, case):
    arena = arena_for(case)
    if case.needs_mosquitto and not arena.has_mosquitto:
        pytest.skip(case.needs_mosquitto)
    judge(case, arena.play(case))


def test_the_page_lists_what_there_is():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python scripts/hostile_broker.py"
    names = [each.name for each in (*CASES, *ENTRIES)]
    assert len(set(names)) == len(names)
