"""Containerfiles and compose file: they refer only to what exists, and nothing runs as root."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aggregator.broker.mosquitto import profile
from aggregator.broker.profile import Facts

FILES = ["Containerfile.edge", "Containerfile.aggregator"]
WRITTEN_BY_THE_OPERATOR = "./secrets/"


class Instruction(NamedTuple):
    keyword: str
    words: list[str]


def _instructions(path: Path) -> list[Instruction]:
    """A Containerfile's instructions, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [Instruction(keyword.upper(), shlex.split(rest)) for keyword, rest in lines]


@pytest.fixture(params=FILES)
def containerfile(request: pytest.FixtureRequest, deploy: Path) -> Path:
    return deploy / str(request.param)


def test_the_last_user_is_a_numeric_one_that_is_not_root(containerfile: Path) -> None:
    instructions = _instructions(containerfile)
    last_stage = max(at for at, instruction in enumerate(instructions) if instruction.keyword == "FROM")
    users = [i.words[0] for i in instructions[last_stage:] if i.keyword == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_what_is_copied_exists_and_is_let_into_the_context(containerfile: Path) -> None:
    root = containerfile.parent.parent
    let_in = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [i.words for i in _instructions(containerfile) if i.keyword == "COPY"]
    from_context = {source for words in copies if not words[0].startswith("--from=") for source in words[:-1]}
    assert from_context == let_in
    assert [name for name in from_context if not (root / name).exists()] == []


def test_nothing_is_fetched_but_pinned_packages(containerfile: Path) -> None:
    for instruction in _instructions(containerfile):
        assert instruction.keyword != "ADD"
        assert not any("://" in word for word in instruction.words)
        if instruction.keyword == "FROM":
            assert re.search(r":\d", instruction.words[0]), "a base image without a version"
    installs = re.findall(r"pip (?:--python \S+ )?install[^\\\n]*", containerfile.read_text())
    assert installs
    assert all("-c constraints.txt" in install for install in installs)


def test_the_state_directory_belongs_to_the_user_and_is_a_volume(containerfile: Path) -> None:
    state = f"/var/lib/fedloom-{containerfile.suffix[1:]}"
    instructions = _instructions(containerfile)
    assert Instruction("VOLUME", [state]) in instructions
    assert any(state in i.words and "0700" in i.words for i in instructions if i.keyword == "RUN")


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint, the linter of Containerfiles, is not installed")
def test_hadolint_finds_no_error(containerfile: Path) -> None:
    command = ["hadolint", "--failure-threshold", "error", containerfile]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout


@pytest.fixture
def compose(deploy: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed, so compose.yaml cannot be parsed")
    return dict(yaml.safe_load((deploy / "compose.yaml").read_text()))


def _mounts(compose: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for service in compose["services"].values():
        for mount in service.get("volumes", ()):
            source, target = mount.split(":")[:2]
            yield source, target


def test_compose_refers_to_what_exists(compose: dict[str, Any], deploy: Path) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= compose["services"].keys()
        if "build" in service:
            context = deploy / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
    for source, _target in _mounts(compose):
        if not source.startswith("."):
            assert source in compose["volumes"]
        elif not source.startswith(WRITTEN_BY_THE_OPERATOR):
            assert (deploy / source).is_file(), source


def test_compose_mounts_what_broker_config_writes_where_the_broker_looks_for_it(compose: dict[str, Any]) -> None:
    at = "/etc/mosquitto/fedloom"
    assert compose["services"]["broker"]["command"] == ["mosquitto", "-c", f"{at}/mosquitto.conf"]
    assert f"./secrets/broker:{at}:ro" in compose["services"]["broker"]["volumes"]
    conf = profile(Facts("00", "aggregator", (), (), at, 8883, 8884)).files["mosquitto.conf"]
    named = re.findall(r"^(?:cafile|certfile|keyfile|crlfile|acl_file) (\S+)$", conf, re.MULTILINE)
    assert len(named) == 8
    assert {str(Path(path).parent) for path in named} == {at}
    ports = re.findall(r"^listener (\d+)$", conf, re.MULTILINE)
    assert compose["services"]["broker"]["ports"] == [f"{port}:{port}" for port in ports]
    (persistence,) = re.findall(r"^persistence_location (\S+)$", conf, re.MULTILINE)
    assert any(each.startswith(f"{persistence.rstrip('/')}:") for each in compose["services"]["broker"]["tmpfs"])


def test_every_service_is_sandboxed_and_bounded(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert not service.get("privileged"), name
