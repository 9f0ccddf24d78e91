"""Where a device joins: `keys/` and `edge.toml` in a directory, at each moment whole, and resumable."""

import os
from pathlib import Path

from edge_client.join_events import Pending
from fedloom.errors import StoreError, TrustError
from fedloom.files import (
    create_private_directory,
    make_private_directory,
    read_private,
    refuse_shared,
    remove_private_directory,
    sync_directory,
    try_lock,
    write_durably,
)
from fedloom.trust.device_keys import (
    DeviceSecrets,
    is_there,
    load_credential,
    load_device_keys,
    load_root,
    load_secrets,
    pending_files,
)
from fedloom.trust.documents import Credential, Root
from fedloom.trust.tokens import Token


class JoinDirectory:
    """Every write is on disk when the call returns; an OSError means that it is not."""

    def __init__(self, base: Path) -> None:
        self.base = base.absolute()
        self.keys = self.base / "keys"
        self.config = self.base / "edge.toml"
        self._lock: int | None = None

    def hold(self) -> None:
        """Create the directory if need be, and keep other joins out of it until `release`.

        Raises:
            StoreError: another join holds it, or it cannot be used.
        """
        try:
            if not self.base.is_dir():
                make_private_directory(self.base)
                sync_directory(self.base.parent)
            self._lock = try_lock(self.base)
        except OSError as error:
            raise StoreError(f"{self.base}: cannot be used ({error.strerror}); name another --dir") from None
        if self._lock is None:
            raise StoreError(f"{self.base}: another fedloom-edge is joining here; wait for it")

    def release(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, token: Token) -> Credential | Pending | None:
        """What is there: a device that has joined with this token, a join of it that was begun, or nothing.

        Raises:
            TrustError: keys of another token are there, or they are damaged, or open to others.
        """
        if not os.path.lexists(self.keys):
            return None
        if not self.keys.is_dir():
            raise TrustError(f"{self.keys}: is not a directory; move it away, or name another --dir")
        refuse_shared(self.keys)
        is_ours = self._is_of(token)
        if is_there(self.keys / "credential"):
            if not is_ours:
                device = load_credential(self.keys).device.hex()
                raise TrustError(f"{self.keys}: belongs to device {device} already; name another --dir to join anew")
            return load_device_keys(self.keys).credential
        if not is_ours:
            remedy = f"finish that one, or give it up: rm -r {self.keys}"
            raise TrustError(f"{self.keys}: a join with another token was begun here; {remedy}")
        root = load_root(self.keys)
        return Pending(load_secrets(self.keys, root.suite), root)

    def make_keys(self, root: Root, document: bytes, token: Token) -> DeviceSecrets:
        """New keys, with the root document and the token's id beside them; all or nothing."""
        secrets = DeviceSecrets.generate(root.suite)
        create_private_directory(self.keys, pending_files(secrets, root, document, token.id))
        return secrets

    def write(self, name: str, data: bytes) -> None:
        """Replace a file beside the keys."""
        write_durably(self.keys / name, data)

    def write_config(self, text: str) -> None:
        """Write edge.toml; one that is there is somebody's work, and stays."""
        if not os.path.lexists(self.config):
            write_durably(self.config, text.encode())

    def discard(self) -> None:
        """Remove the keys of a join that was begun; all or nothing, as they were made."""
        remove_private_directory(self.keys)

    def _is_of(self, token: Token) -> bool:
        path = self.keys / "token"
        return is_there(path) and read_private(path).strip() == token.id.hex().encode()
