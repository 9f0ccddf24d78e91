"""Carries out what the session asks for on disk, on the link and in the log."""

import errno
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client import events
from edge_client.outbox import StateDirectory
from fedloom.errors import LinkError, StoreError
from fedloom.failpoints import failpoint
from fedloom.files import write_durably
from fedloom.link.base import Link

if TYPE_CHECKING:
    from fedloom.learning.model import Model

log = logging.getLogger("fedloom.edge")

Write = (
    events.PersistState
    | events.WriteDocument
    | events.Silent
    | events.Heard
    | events.StoreOutbox
    | events.DropOutbox
    | events.SaveModel
    | events.SavePersonal
    | events.Sleep
    | events.Wake
)
Piece = events.OpenDownload | events.KeepChunk | events.ReadDownload | events.DropDownload | events.PublishFrame
Effect = events.Subscribe | events.Unsubscribe | events.Publish | events.Withdraw | events.Log | Write | Piece
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Effects:
    """One action after the other, each finished when `carry_out` returns."""

    def __init__(self, link: Link, directory: StateDirectory, keys: Path) -> None:
        self._link = link
        self._directory = directory
        self._keys = keys

    def use(self, link: Link) -> None:
        """Another link takes the place of the one that was closed."""
        self._link = link

    def carry_out(self, action: Effect) -> events.Event | None:
        """Do it; returns what the session wants to hear of it.

        Raises:
            StoreError: the disk does not take what must be durable; nothing that depends on it may happen.
        """
        match action:
            case events.Subscribe(topic_filter, renew):
                self._link.subscribe(topic_filter, renew=renew)
            case events.Unsubscribe(topic_filter):
                self._link.unsubscribe(topic_filter)
            case events.Publish():
                self._publish(action)
            case events.Withdraw(topic):
                self._link.withdraw(topic)
            case events.Log(level, text, args):
                log.log(level, text, *args)
            case _:
                return self._on_disk(action)
        return None

    def _on_disk(self, action: Write | Piece) -> events.Event | None:
        download = self._directory.download
        try:
            match action:
                case events.OpenDownload(model, chunks):
                    return events.DownloadOpened(model, download.open(model, chunks))
                case events.KeepChunk(model, start, payload):
                    download.keep(model, start, payload)
                case events.DropDownload(keep):
                    download.drop(keep)
                case events.ReadDownload(model):
                    return events.DownloadRead(model, download.read(model))
                case events.PublishFrame(topic, header, digest, start, length):
                    frame = header + self._directory.read_slice(digest, start, length)
                    self._publish(events.Publish(topic, frame), tell=True)
                case _:
                    self._write(action)
        except OSError as error:
            deed = "read" if isinstance(action, events.ReadDownload | events.PublishFrame) else "written"
            problem = f"{self._directory.path}: cannot be {deed} ({error.strerror})"
            raise StoreError(f"{problem}; free or repair the disk and start again") from None
        return None

    def _write(self, action: Write) -> None:
        match action:
            case events.PersistState(state):
                self._directory.write_state(state)
            case events.WriteDocument(name, data):
                self._write_document(self._keys / name, data)
            case events.Silent(seconds):
                self._directory.silent.write(time.time() - seconds)
            case events.Heard():
                self._directory.silent.write(None)
            case events.Sleep(seconds):
                self._directory.sleeping.write(time.time() + seconds)
            case events.Wake():
                self._directory.sleeping.write(None)
            case events.StoreOutbox(entry, residual, control, personal):
                failpoint("device.trained")
                self._directory.store(entry, residual, control, personal)
                failpoint("device.outbox-stored")
            case events.DropOutbox(digest):
                failpoint("device.receipt-came")
                self._directory.drop(digest)
            case events.SaveModel(work):
                self._save(work)
            case _:
                self._save_personal(action)

    def _write_document(self, path: Path, data: bytes) -> None:
        """Where the keys cannot be written at all, the document counts until the next start, and comes again then."""
        try:
            write_durably(path, data)
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            remedy = "let this process write there, or the device will be locked out when its credential has expired"
            log.error("document.unkept path=%s reason=%r", path, f"{error.strerror}; {remedy}")  # noqa: TRY400

    def _publish(self, action: events.Publish, tell: bool = False) -> None:
        try:
            self._link.publish(action.topic, action.payload, retain=action.retain, tell=tell)
        except LinkError as error:
            # Nothing is lost: an update stays in the outbox and is sent again, presence is said anew when connected.
            log.warning("link.full topic=%s bytes=%d reason=%r", action.topic, len(action.payload), str(error))
            return
        if action.topic.endswith("/up"):
            failpoint("device.update-published")

    def _save(self, work: events.Work) -> None:
        from fedloom.learning.model_file import save  # once a job: not while idle

        model = final_model(work)
        self._directory.drop_personal()
        save(model, self._directory.model)
        failpoint("device.model-renamed")
        where = (work.brief.job_name, model.meta["version"], str(self._directory.model))
        log.info("model.saved job=%s version=%s path=%s", *where)

    def _save_personal(self, action: events.SavePersonal) -> None:
        write_durably(self._directory.personal, action.model)
        log.info("personal.saved path=%s", str(self._directory.personal))


def final_model(work: events.Work) -> "Model":
    """A job's model as this device keeps it."""
    from fedloom.learning.model import Model

    manifest, brief, model = work.manifest, work.brief, work.model
    assert model is not None  # noqa: S101 - for the type checker: the session saves only what it has
    assert manifest.model is not None  # noqa: S101
    return Model(
        spec=brief.spec,
        loss=brief.plan.loss,
        weights=model.weights,
        standardiser=model.standardiser,
        classes=brief.data.classes,
        features=brief.data.input_names(brief.spec.inputs),
        meta={"job": brief.job_name, "run": manifest.job.hex(), "version": str(manifest.model.version)},
    )
