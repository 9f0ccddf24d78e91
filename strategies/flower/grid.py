"""The Grid that a strategy sees while it configures a round: enough nodes, and nothing is sent."""

from collections.abc import Iterable
from typing import NoReturn

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from strategies.base import FusionError

_MOST_QUESTIONS = 10
"""flwr asks again each second, for ever, while it finds too few nodes; twice is normal."""


class StillGrid(Grid):  # type: ignore[misc]  # flwr's types are not looked at
    """As many nodes as the strategy wants to sample from: who takes part was decided by the job's rounds."""

    def __init__(self, strategy: Strategy) -> None:
        wanted = (getattr(strategy, name, 0) for name in ("min_train_nodes", "min_available_nodes"))
        self._nodes = max(1, *wanted)
        self._questions = 0

    def get_node_ids(self) -> Iterable[int]:
        """Numbers that stand for nodes.

        Raises:
            FusionError: it was asked too often.
        """
        self._questions += 1
        if self._questions > _MOST_QUESTIONS:
            raise FusionError("the strategy of Flower waits for nodes; a job's rounds decide who takes part")
        return range(1, self._nodes + 1)

    def set_run(self, run: object) -> NoReturn:
        """Nothing runs here."""
        self._refuse()

    @property
    def run(self) -> NoReturn:
        """Nothing runs here."""
        self._refuse()

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """As `Message` itself."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        """Nothing is sent."""
        self._refuse()

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        """Nothing was sent."""
        self._refuse()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> NoReturn:
        """Nothing is sent."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise FusionError("the strategy of Flower talks to nodes itself; it needs a ServerApp: see docs/flower.md")
