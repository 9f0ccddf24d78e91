"""Versioned models on disk: DIRECTORY/JOB/vNNNN.fedloom, each written durably before the store names it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from aggregator.damage import DamagedError
from aggregator.history import ModelEntry
from aggregator.model import described
from aggregator.phases import score
from aggregator.records import CurrentModel, Figures, NewModel
from fedloom.errors import DataError, StoreError
from fedloom.files import make_private_directory, sync_directory
from fedloom.job import Job
from fedloom.job.rounds import Stopping
from fedloom.learning.model import Model
from fedloom.learning.model_file import load, save
from fedloom.wire.model_blob import model_hash


class Registry:
    """The models of one job."""

    def __init__(self, directory: Path, job: Job, known: Iterable[ModelEntry] = ()) -> None:
        """`known`: the versions that the store names; those without a file were pruned before."""
        self._directory = directory / job.name
        self._job = job
        make_private_directory(directory)
        make_private_directory(self._directory)
        sync_directory(directory.parent)
        sync_directory(directory)
        self._live = {entry.version: entry.metrics for entry in known if self.path(entry.version).exists()}

    def path(self, version: int) -> Path:
        """The file of a version."""
        return self._directory / f"v{version:04d}.fedloom"

    def save(self, new: NewModel) -> Path:
        """Write a version.

        Raises:
            StoreError: it is not durable.
        """
        notes = {
            "job": self._job.name,
            "version": str(new.model.version),
            "round": str(new.round),
            "hash": new.hash.hex(),
            "devices": str(new.devices),
            "samples": str(new.samples),
        }
        self._live[new.model.version] = {}
        return self._write(new.model.version, described(new.model, self._job, notes))

    def load(self, version: int) -> CurrentModel:
        """Read a version back.

        Raises:
            DamagedError: it is missing or damaged.
        """
        model = self._read(version)
        return CurrentModel(version, model.weights, model.standardiser)

    def load_known(self, version: int, digest: bytes) -> CurrentModel:
        """Read back a version of which the store knows the hash.

        Raises:
            DamagedError: it is missing, damaged, or another model.
        """
        model = self.load(version)
        found = model_hash(model.weights, model.standardiser)
        if found != digest:
            raise DamagedError(f"{self.path(version)}: is the model {found.hex()}, not {digest.hex()}")
        return model

    def evaluated(self, version: int, figures: Figures) -> None:
        """The metrics of a version have become known."""
        if version in self._live:
            self._live[version] = figures

    def annotate(self, version: int) -> None:
        """Write what is known of a version's metrics into its file."""
        figures = {name: f"{value:.6g}" for name, value in self._live.get(version, {}).items()}
        if figures:
            model = self._read(version)
            self._write(version, msgspec.structs.replace(model, meta=model.meta | figures))

    def prune(self, keep: int) -> None:
        """Delete all files but the newest `keep` versions' and the best one's."""
        best = max(self._live, key=lambda version: (score(self._live[version], self._job.stopping), version), default=0)
        for version in sorted(self._live)[:-keep]:
            if version != best:
                self.path(version).unlink(missing_ok=True)
                del self._live[version]

    def _read(self, version: int) -> Model:
        try:
            return load(self.path(version))
        except DataError as error:
            raise DamagedError(f"{error.where}: {error.problem}") from None

    def _write(self, version: int, model: Model) -> Path:
        path = self.path(version)
        try:
            save(model, path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be written ({error})") from error
        return path


def best_of(known: Iterable[ModelEntry], stopping: Stopping) -> ModelEntry | None:
    """The version with the best federated metric, the newest of equals; None where none was evaluated."""
    rated = [entry for entry in known if stopping.metric in entry.metrics]
    return max(rated, key=lambda entry: (score(entry.metrics, stopping), entry.version), default=None)
