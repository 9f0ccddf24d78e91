"""What the tests of the session share."""

from typing import TypeVar

from edge_client.events import Action, Answer
from fedloom.wire.messages import Update

Kind = TypeVar("Kind")
ANSWER = Answer(Update(10, 2, 1.5, b"\0" * 24, b"", ""), 1, b"residual")


def only(actions: list[Action], kind: type[Kind]) -> list[Kind]:
    """The actions of this kind."""
    return [action for action in actions if isinstance(action, kind)]
