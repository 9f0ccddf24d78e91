"""The server's side: Flower's FedAvg over the numpy arrays, which writes down when each round begins."""

from collections.abc import Iterable

from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from peer_app import mlp
from peer_app.events import record

app = ServerApp()


class Timed(FedAvg):
    """FedAvg whose rounds leave a trace."""

    def __init__(self, devices: int, events: str) -> None:
        super().__init__(fraction_evaluate=0.0, min_train_nodes=devices, min_available_nodes=devices)
        self._events = events

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's own, noted."""
        record(self._events, "round")
        return super().configure_train(server_round, arrays, config, grid)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run all rounds."""
    run = context.run_config
    events = str(run["events"])
    record(events, "serverapp")
    arrays = ArrayRecord(mlp.initial([int(width) for width in str(run["widths"]).split(",")]))
    Timed(int(run["devices"]), events).start(grid, arrays, num_rounds=int(run["rounds"]))
    record(events, "done")
