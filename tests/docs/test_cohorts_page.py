"""Every rule for cohorts, and every option of each with its default, is in its row of docs/strategies.md."""

import re

import msgspec
import pytest
import tracked

from aggregator.cohorts.registry import RULES

PAGE = (tracked.ROOT / "docs" / "strategies.md").read_text()


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_documented_with_its_options(name) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert row, f"docs/strategies.md has no row for {name}"
    options = [f"`{field.encode_name}` ({field.default})" for field in msgspec.structs.fields(RULES[name])]
    assert [option for option in options if option not in row[0]] == []
