"""Build the wheel, install it as a device would, and see that the device's part works with nothing else around."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tracked import ROOT

DEVICE_SET = {"cffi", "cryptography", "fedloom", "msgspec", "numpy", "paho-mqtt", "pycparser", "typing-extensions"}
ABSENT = ("flwr", "torch", "sqlalchemy", "typer", "rich", "pydantic", "sklearn", "amqtt")
FLOWER = ("fedloom.flower.convert", "edge_client.flower.host")
"""Imported only in the process of a Flower app, which a device's own configuration names."""

PROBE = f"""
import importlib, importlib.metadata, importlib.util, pkgutil
import edge_client, fedloom
for room in (fedloom, edge_client):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if not module.name.endswith(".__main__") and module.name not in {FLOWER!r}:
            importlib.import_module(module.name)
around = [name for name in {ABSENT!r} if importlib.util.find_spec(name)]
assert not around, f"a device must not have {{around}}"
installed = {{d.name.lower().replace("_", "-") for d in importlib.metadata.distributions()}} - {{"pip", "setuptools"}}
assert installed <= {DEVICE_SET!r}, f"more than the device's set: {{installed - {DEVICE_SET!r}}}"
print("installed", *sorted(installed))
"""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; its failure ends the check with its own output."""
    print("$", *(part for part in command if part != PROBE), flush=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(command, cwd=cwd, check=True, env=environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def main() -> int:
    """Exit status 1 if any step fails."""
    with tempfile.TemporaryDirectory(prefix="fedloom-wheel-") as scratch:
        here = Path(scratch)
        try:
            run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", here / "dist")
            run(sys.executable, "-m", "venv", here / "device")
            binaries = here / "device" / "bin"
            wheel = next((here / "dist").glob("*.whl"))
            run(binaries / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
            run(binaries / "python", "-I", "-c", PROBE, cwd=here)
            run(binaries / "python", "-m", "edge_client", "--help", cwd=here)
            run(binaries / "fedloom-edge", "--help", cwd=here)
        except subprocess.CalledProcessError as error:
            print(f"exit status {error.returncode}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
