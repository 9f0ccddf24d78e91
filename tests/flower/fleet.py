"""A fleet of real processes that runs a Flower app: a broker, `fedloom flower run`, a daemon a node."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulation.processes import Child, LocalFleet

APPS = Path(__file__).parent / "apps"
NodeConfig = Mapping[str, int | str]


class FlowerFleet(LocalFleet):
    """Each device has its own ClientApp and node configuration; None is a device without an app."""

    def __init__(
        self, directory: Path, app: Path, nodes: Sequence[NodeConfig | None], settings: Mapping[str, object]
    ) -> None:
        super().__init__(directory, app, [directory / "none.csv"] * len(nodes), suite="x25519")
        self._nodes = nodes
        self._settings = settings
        self._config = directory / "aggregator.toml"

    def _provision(self, state: Path, number: int, source: Path) -> Path:
        config = super()._provision(state, number, source)
        if (node := self._nodes[number - 1]) is not None:
            own = config.read_text().replace(f'[data]\npath = "{source}"\n', "")  # an app finds its data by itself
            pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in node.items())
            lines = ["", "[flower]", f'app = "{self.job.name}_app.client:app"', f'directory = "{self.job}"']
            config.write_text("\n".join([own, *lines, f"node_config = {{ {pairs} }}", ""]))
        return config

    def _start_aggregator(self, state: Path) -> Child:
        host, port = self.address()
        lines = ['job = "none.toml"', f'state = "{state.name}"', "[broker]", f'host = "{host}"', f"port = {port}", ""]
        self._config.write_text("\n".join(lines))
        return self._start_server()

    def restart_server(self) -> None:
        """SIGKILL, and start again."""
        assert self.aggregator is not None
        assert self.aggregator.process.stdout is not None
        self.aggregator.process.kill()
        self.aggregator.process.wait()
        self.aggregator.process.stdout.close()
        self.aggregator = self._start_server()

    def _start_server(self) -> Child:
        settings = [f"--run-config={key}={json.dumps(value)}" for key, value in self._settings.items()]
        run = ["-m", "fedloom.command", "flower", "run", str(self.job), "--config", str(self._config), "--json"]
        return self._spawn("aggregator", [*run, *settings, "--resume"], subprocess.PIPE)
