"""The checks of scripts/ find what they are there to find."""

from pathlib import Path

import check_links
import check_reference
import check_traces
import msgspec
import pytest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](other.md)", []),
        ("[a](other.md#two-words)", []),
        ("[a](#here)\n# Here", []),
        ("[a](https://example.org/x) `[b](gone.md)`\n```\n[c](gone.md)\n```\n", []),
        ("[a](gone.md)", ["page.md: gone.md: there is no such file"]),
        ("![a](gone.svg)", ["page.md: gone.svg: there is no such file"]),
        ('<img alt="" src="gone.svg">', ["page.md: gone.svg: there is no such file"]),
        ("[a]: gone.md", ["page.md: gone.md: there is no such file"]),
        ("[a](other.md#three-words)", ["page.md: other.md#three-words: there is no such heading"]),
        ("[a](#there)", ["page.md: #there: there is no such heading"]),
    ],
)
def test_links(tmp_path: Path, text: str, found: list[str]) -> None:
    (tmp_path / "other.md").write_text("# One\n## Two `words`\n")
    (tmp_path / "page.md").write_text(text)
    assert check_links.broken_links(tmp_path, [tmp_path / "page.md"]) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cd /" + "root/project", "a path of a build machine"),
        ('open("/' + 'home/ada/data.csv")', "a path of a build machine"),
        ("--index-url https://" + "py" + "pi.org/simple", "the address of a package registry"),
        ("-----BEGIN EC " + "PRIVATE KEY-----", "a private key"),
        ("# TO" + "DO: later", "unfinished work"),
    ],
)
def test_traces(line: str, found: str) -> None:
    assert list(check_traces.traces_in(f"first\n{line}\n")) == [(2, found)]


@pytest.mark.parametrize("line", ["ProtectHome=yes", "~/data", "docs/work/plan.md", "https://host/root/x", "/var/lib"])
def test_what_is_no_trace(line: str) -> None:
    assert list(check_traces.traces_in(line)) == []


class Part(msgspec.Struct):
    size: int = 3
    label: str = ""


class Whole(msgspec.Struct):
    name: str
    part: Part | None = None
    ratios: tuple[float, ...] = (0.5,)


PAGE = """
| `name` | text | required | |
| `ratios` | list | `[0.5]` | |
## [part]
| `size` | integer | `3` | |
| `label` | text | `""` | |
"""


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", []),
        ("`3`", "`4`", ["page.md: [part] size: the page says default `4`, the code says `3`"]),
        ("| `size` | integer | `3` | |\n", "", ["page.md: [part] size is not documented"]),
        ("## [part]", "## [parts]", ["page.md: [part] is not documented", "page.md: [parts] is documented, but Whole"]),
        ("| `label`", "| `title` | text | `1` | |\n| `label`", ["page.md: [part] title is documented, but is no key"]),
        ("required", "`x`", ["page.md: top level name: the page says default `x`, the code says required"]),
    ],
)
def test_references(tmp_path: Path, old: str, new: str, found: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace(old, new, 1))
    said = check_reference.disagreements(Whole, page)
    assert len(said) == len(found)
    assert all(line.startswith(start) for line, start in zip(said, found, strict=True))


def test_a_missing_reference_is_found(tmp_path: Path) -> None:
    assert "is missing" in check_reference.disagreements(Whole, tmp_path / "page.md")[0]
