"""What the server from which processes are forked has imported, and has ready, when the first of them is forked."""

import contextlib
import gc
import importlib
import io

from edge_client import cli
from fedloom import command
from fedloom.trust.seal import SealKey, SealSuite

for module in ("edge_client.shell", "edge_client.training"):
    importlib.import_module(module)

NOWHERE = ["run", "--config", "/nonexistent/fedloom.toml"]

# A command that fails at once: what only the reading of options imports (Typer: pydantic) is there by then, too.
with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
    command.main(["aggregator", *NOWHERE])
with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main(NOWHERE)
SealKey.generate(SealSuite.X25519)

# A daemon collects garbage when it has started: without this, each would copy all pages of what is here to do so.
gc.collect()
gc.freeze()
