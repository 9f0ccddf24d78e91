"""The units: valid to systemd's own tools, tightly sandboxed, and in agreement with the rest of the repository."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

UNITS = ["fedloom-edge.service", "fedloom-aggregator.service"]
EXPOSURE_TENTHS = "15"
# Older systemd ignores them with a message; the units say what happens then.
NEWER_KEYS = re.compile(r"Unknown key(?: name)? '(RestartSteps|RestartMaxDelaySec)' in section")

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed, so units cannot be verified"
)


@pytest.fixture(params=UNITS)
def unit(request: pytest.FixtureRequest, deploy: Path, tmp_path: Path) -> Path:
    """A copy whose executables exist here."""
    text = (deploy / "systemd" / request.param).read_text()
    copy = tmp_path / request.param
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return copy


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, SYSTEMD_COLORS="0")
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


@needs_systemd
def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    result = _analyze("verify", unit)
    complaints = [line for line in result.stderr.splitlines() if unit.name in line and not NEWER_KEYS.search(line)]
    assert not complaints
    assert result.returncode == 0, result.stderr


@needs_systemd
def test_the_sandbox_is_tight(unit: Path) -> None:
    """Exposure in tenths: 0 is the tightest, 100 no sandbox."""
    result = _analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", unit)
    if "unrecognized option" in result.stderr:
        pytest.skip("this systemd-analyze cannot review unit files offline")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_the_units_users_are_declared(deploy: Path) -> None:
    result = subprocess.run(
        ["systemd-sysusers", "--dry-run", deploy / "systemd" / "sysusers.conf"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unrecognized option" in result.stderr:
        pytest.skip("this systemd-sysusers has no dry run")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_the_distribution_has(deploy: Path, name: str) -> None:
    service = _service(deploy / "systemd" / name)
    program, *arguments = service["ExecStart"].split()
    scripts = tomllib.loads((deploy.parent / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert arguments[-2:] == ["--config", f"/etc/fedloom/{name.removesuffix('.service').split('-')[1]}.toml"]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_as_a_user_of_its_own_with_a_state_directory_of_its_own(deploy: Path, name: str) -> None:
    service = _service(deploy / "systemd" / name)
    own = name.removesuffix(".service")
    assert service["User"] == own
    assert (service["StateDirectory"], service["StateDirectoryMode"]) == (own, "0700")
    declared = (deploy / "systemd" / "sysusers.conf").read_text()
    assert re.search(rf'^u {own}\s+- "[^"]+"\s+/var/lib/{own}$', declared, re.MULTILINE)


def _service(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return dict(parser["Service"])
