"""The page of faults says what there is."""

import re
from pathlib import Path

from faults_page import ROWS, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current():
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == page(), "run: python scripts/faults.py"


def test_the_tests_that_it_names_are_there():
    for row in ROWS:
        for path in re.findall(r"`([^`]+)`", row.tested):
            assert (ROOT / "tests" / path).is_file(), path
