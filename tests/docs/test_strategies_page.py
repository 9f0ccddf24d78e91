"""Every rule, server optimiser and pre-step, and every option of each, is in its row of docs/strategies.md."""

import re

import msgspec
import pytest
import tracked

from strategies import registry

PAGE = (tracked.ROOT / "docs" / "strategies.md").read_text()
PARTS = {
    **{name: (recipe.combine, recipe.server) for name, recipe in registry.COMPOSED.items()},
    **{name: (kind,) for name, kind in {**registry.WHOLE, **registry.SERVERS, **registry.BEFORE}.items()},
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_documented_with_its_options(name) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert row, f"docs/strategies.md has no row for {name}"
    options = [field.encode_name for kind in PARTS[name] for field in msgspec.structs.fields(kind)]
    assert [option for option in options if f"`{option}`" not in row[0]] == []
