"""The peer: Flower's own strategy and apps in one process, without a network between them."""

from collections.abc import Iterable, Sequence

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity


class InProcessGrid(Grid):
    """Calls the ClientApp with each message; every node has a context of its own."""

    def __init__(self, client: ClientApp, nodes: Sequence[dict], settings: dict) -> None:
        self._client = client
        self._contexts = {
            number: Context(7, number, dict(node), RecordDict(), settings) for number, node in enumerate(nodes, 2)
        }

    def set_run(self, run: Run) -> None:
        pass

    @property
    def run(self) -> Run:
        return Run.create_empty(7)

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [self._client(each, self._contexts[each.metadata.dst_node_id]) for each in messages]


def run(server: ServerApp, client: ClientApp, nodes: Sequence[dict], settings: dict) -> None:
    """Run the app to its end."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 7, 1
    server(grid=InProcessGrid(client, nodes, settings), context=Context(7, 1, {}, RecordDict(), settings))
