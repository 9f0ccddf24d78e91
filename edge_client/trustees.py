"""Whom a device trusts and what it holds from them: changed by the next root document or a renewal, by nothing else."""

import logging

from edge_client.believe import Judge
from edge_client.events import Action, Log, Subscribe, WriteDocument
from edge_client.membership import open_renewal
from edge_client.writer import Writer
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys, authority_pem, member_files
from fedloom.trust.documents import Root, open_next_root
from fedloom.wire.messages import Membership
from fedloom.wire.topics import Topics


class Trustees:
    """The newest root document, this device's credential under it, and the judge that goes with both."""

    def __init__(self, keys: DeviceKeys, root_version: int, writer: Writer) -> None:
        """`root_version` is the newest that this device has ever accepted."""
        self.keys = keys
        self.judge = Judge(keys)
        self._root_version = root_version
        self._newest_version = root_version
        """Of the root documents that this device has heard of."""
        self._writer = writer

    @property
    def is_behind(self) -> bool:
        """The root document is an old copy: until it is followed to the newest one, nobody can be believed."""
        return self.keys.root.version < self._root_version

    @property
    def signers(self) -> frozenset[bytes]:
        """The keys whose manifests are believed."""
        return frozenset(each.signing for each in self.keys.root.aggregators)

    def check(self) -> None:
        """Return if what is signed under this root may be believed.

        Raises:
            Refused: OLD.
        """
        if self.is_behind:
            ours = self.keys.root.version
            raise Refused(Reason.OLD, f"our own root document, version {ours}, is older than {self._root_version}")

    def follow(self, version: int, document: bytes) -> list[Action]:
        """Accept the root document that follows ours, and put it on disk; nothing to do about any other.

        Raises:
            Refused: it is not what it should be.
        """
        if version != self.keys.root.version + 1:
            self._newest_version = max(self._newest_version, version)
            return []
        before, root = self.keys.root, open_next_root(document, self.keys.root)
        self._replace(self.keys._replace(root=root))
        self.judge = Judge(self.keys)
        return [*root_documents(before, root, document), Log(logging.INFO, "root.accepted version=%d", (version,))]

    def hear_again(self) -> list[Action]:
        """After a new root: the manifest that came before it, and root documents that came before their turn."""
        topics = Topics(self.keys.root.federation)
        actions: list[Action] = []
        if self.keys.root.version < self._newest_version:
            actions.append(Subscribe(topics.all_roots))
        if not self.is_behind:
            actions += [Subscribe(topics.manifest), self._writer.ready_anew()]
        return actions

    def renew(self, membership: Membership) -> list[Action]:
        """Accept a renewal, put it on disk, and say that we have it; nothing to do about one that we have already.

        Raises:
            Refused: it is not what it should be.
        """
        credential = open_renewal(membership, self.keys)
        if credential is None:
            return []
        self._replace(self.keys._replace(credential=credential))
        files = member_files(membership.credential, membership.certificate)
        writes = [WriteDocument(name, data) for name, data in files.items()]
        said = Log(logging.INFO, "membership.renewed not_after=%d", (credential.not_after,))
        return [*writes, said, self._writer.ready_anew()]

    def _replace(self, keys: DeviceKeys) -> None:
        self.keys = self._writer.keys = keys


def root_documents(before: Root, root: Root, document: bytes) -> list[WriteDocument]:
    """Puts the next root document on disk; where it brings another authority, brokers may be of either for a while."""
    writes = []
    if root.registrar.ca != before.registrar.ca:
        writes.append(WriteDocument("ca.crt", authority_pem(root.registrar.ca, before.registrar.ca)))
    return [*writes, WriteDocument("root", document)]
