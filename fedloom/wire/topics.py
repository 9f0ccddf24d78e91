"""Where messages go: at most 7 levels, ids in hex, one ACL line a direction.

fedloom/{federation}/d/{device}/up      device → aggregator: updates
fedloom/{federation}/d/{device}/down    aggregator → device: tasks, receipts
fedloom/{federation}/d/{device}/state   retained; also the device's last will
fedloom/{federation}/all/manifest       retained
fedloom/{federation}/all/model/{hash}/{n}   retained; chunk n of the sealed model
fedloom/{federation}/all/root/{version}     retained; the root document of that version
fedloom/{federation}/enrol/{token}/up       device that joins → registrar
fedloom/{federation}/enrol/{token}/down     registrar → device that joins
"""

from typing import NamedTuple

from fedloom.errors import Reason, Refused


class Topics(NamedTuple):
    """The topics of one federation."""

    federation: bytes

    def _under(self, rest: str) -> str:
        return f"fedloom/{self.federation.hex()}/{rest}"

    def up(self, device: bytes) -> str:
        """Updates of a device."""
        return self._under(f"d/{device.hex()}/up")

    def down(self, device: bytes) -> str:
        """What is for one device alone."""
        return self._under(f"d/{device.hex()}/down")

    def state(self, device: bytes) -> str:
        """Presence of a device."""
        return self._under(f"d/{device.hex()}/state")

    @property
    def manifest(self) -> str:
        """The current manifest."""
        return self._under("all/manifest")

    def chunk(self, model: bytes, number: int) -> str:
        """A chunk of the sealed model whose SHA-256 is `model`."""
        return self._under(f"all/model/{model.hex()}/{number}")

    def root(self, version: int) -> str:
        """The root document of a version."""
        return self._under(f"all/root/{version}")

    @property
    def all_roots(self) -> str:
        """The filter for root documents."""
        return self._under("all/root/+")

    def enrol_up(self, token: bytes) -> str:
        """What a device that joins with a token says."""
        return self._under(f"enrol/{token.hex()}/up")

    def enrol_down(self, token: bytes) -> str:
        """What it is told."""
        return self._under(f"enrol/{token.hex()}/down")

    @property
    def all_enrol_up(self) -> str:
        """The registrar's filter."""
        return self._under("enrol/+/up")

    @property
    def all_up(self) -> str:
        """The aggregator's filter for updates."""
        return self._under("d/+/up")

    @property
    def all_states(self) -> str:
        """The aggregator's filter for presence."""
        return self._under("d/+/state")

    def device_of(self, topic: str) -> bytes:
        """The device in `…/d/{device}/…`.

        Raises:
            Refused: WRONG_TOPIC.
        """
        return self._id_in(topic, "d")

    def token_of(self, topic: str) -> bytes:
        """The token's id in `…/enrol/{token}/…`.

        Raises:
            Refused: WRONG_TOPIC.
        """
        return self._id_in(topic, "enrol")

    def root_version_of(self, topic: str) -> int:
        """The version in `…/all/root/{version}`.

        Raises:
            Refused: WRONG_TOPIC.
        """
        parts = topic.split("/")
        if len(parts) != 5 or parts[:4] != ["fedloom", self.federation.hex(), "all", "root"]:
            raise Refused(Reason.WRONG_TOPIC)
        return _number(parts[4])

    def _id_in(self, topic: str, kind: str) -> bytes:
        parts = topic.split("/")
        if len(parts) != 5 or parts[:3] != ["fedloom", self.federation.hex(), kind]:
            raise Refused(Reason.WRONG_TOPIC)
        return _unhex(parts[3])

    def chunk_of(self, topic: str) -> tuple[bytes, int]:
        """The model and the number in `…/all/model/{hash}/{n}`.

        Raises:
            Refused: WRONG_TOPIC.
        """
        parts = topic.split("/")
        if len(parts) != 6 or parts[:4] != ["fedloom", self.federation.hex(), "all", "model"]:
            raise Refused(Reason.WRONG_TOPIC)
        return _unhex(parts[4]), _number(parts[5])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise Refused(Reason.WRONG_TOPIC)
    return int(text)


def _unhex(text: str) -> bytes:
    """What `text` spells, in the one spelling that we write: no capitals, no spaces."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise Refused(Reason.WRONG_TOPIC) from None
    if data.hex() != text:
        raise Refused(Reason.WRONG_TOPIC)
    return data
