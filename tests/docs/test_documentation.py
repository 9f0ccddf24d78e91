"""The repository's own documentation passes the checks of scripts/, and the job file shown in it is one."""

import re
import tomllib
from pathlib import Path

import check_docs
import check_traces
import tracked

from fedloom import config
from fedloom.job import Job, check_job


def test_links_and_references_are_right() -> None:
    assert check_docs.problems() == []


def test_no_file_carries_a_trace_of_a_machine() -> None:
    assert check_traces.problems(tracked.ROOT, tracked.tracked_files()) == []


def test_the_job_shown_in_its_reference_is_a_job() -> None:
    page = (tracked.ROOT / "docs" / "job.md").read_text()
    shown = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert shown
    for text in shown:
        check_job(config.convert(tomllib.loads(text), Job, "docs/job.md"), "docs/job.md")


def test_every_page_is_in_the_index_of_its_folder() -> None:
    docs = tracked.ROOT / "docs"
    pages = [path for path in tracked.tracked_files() if path.is_relative_to(docs) and path.suffix == ".md"]
    indexes = {page.parent: page.read_text() for page in pages if page.name == "README.md"}
    assert [
        page.name for page in pages if page.name != "README.md" and f"({page.name})" not in indexes[page.parent]
    ] == []
    assert [
        folder.name for folder in indexes if folder != docs and f"({folder.name}/README.md)" not in indexes[docs]
    ] == []


def test_every_make_target_is_in_the_guide_for_contributors() -> None:
    targets = re.findall(r"^([a-z]+):.*##", Path(tracked.ROOT / "Makefile").read_text(), re.MULTILINE)
    guide = (tracked.ROOT / "CONTRIBUTING.md").read_text()
    assert targets
    assert [target for target in targets if f"`make {target}`" not in guide] == []
