"""Relative links and anchors in Markdown files."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_IMAGE = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def broken_links(root: Path, files: Iterable[Path]) -> list[str]:
    """One line for each link in a Markdown file among `files` that leads nowhere."""
    found: list[str] = []
    for page in files:
        if page.suffix == ".md":
            found += [f"{page.relative_to(root)}: {link}: {why}" for link, why in _broken_in(page)]
    return found


def _broken_in(page: Path) -> Iterator[tuple[str, str]]:
    for link in _links(page.read_text(encoding="utf-8")):
        if _EXTERNAL.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            yield link, "there is no such file"
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target.read_text(encoding="utf-8")):
            yield link, "there is no such heading"


def _links(text: str) -> Iterator[str]:
    prose = _CODE.sub("", _FENCE.sub("", text))
    for match in _LINK.finditer(prose):
        yield match[1] or match[2]
    for match in _IMAGE.finditer(prose):
        yield match[1]


def _anchors(text: str) -> set[str]:
    """As GitHub makes them: lower case, punctuation dropped, spaces to hyphens, -1, -2 … for the repeated ones."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        repeats = sum(1 for anchor in found if anchor == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", anchor))
        found.add(f"{slug}-{repeats}" if repeats else slug)
    return found
