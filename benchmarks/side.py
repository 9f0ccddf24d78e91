"""What a benchmark asks of a deployment, ours or the peer's."""

from types import TracebackType
from typing import NamedTuple, Protocol, Self

from processes import Process
from work import Work


class Device(NamedTuple):
    """A daemon on a device."""

    process: Process
    started_s: float
    """On the monotonic clock, just before exec; so are all times below."""


class Side(Protocol):
    """A server and daemons as their own commands start them; a context manager that ends them all."""

    def __enter__(self) -> Self:
        """Start what there is before a job and devices."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End every process."""

    def start_run(self, work: Work) -> None:
        """Submit the work; it begins as soon as there are enough devices. Returns when the server's part is up."""

    def start_device(self, number: int) -> Device:
        """Start a device's daemon."""

    def await_connected(self) -> float:
        """When the server knew the first device."""

    def await_task(self) -> float:
        """When the first device began its first task."""

    def await_rounds(self, count: int) -> list[float]:
        """When so many rounds were opened."""

    def await_done(self) -> float:
        """When the work was over."""
