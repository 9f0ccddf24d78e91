"""Data sets by name, and those that are a file or a folder beside the job."""

from pathlib import Path
from typing import NamedTuple

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import ENDINGS
from fedloom.data.table import Table, Wanted, name_in_file
from fedloom.errors import ConfigError
from fedloom.suggest import closest
from simulation.population import bundled, images, stored

WATCH = "watch"
NAMES = tuple(sorted((*bundled.NAMES, *images.SETS, WATCH)))
_FIELD = "simulation.dataset"


class Opened(NamedTuple):
    """A data set, read."""

    source: SourceConfig
    """What errors name."""
    table: Table
    test: Table | None
    """The part that the data set itself keeps apart."""


def folder_of_clients(name: str, where: Path) -> Path | None:
    """The folder with a file a client, where that is what `name` stands for.

    Raises:
        ConfigError: it is the watches, and they are not installed.
    """
    if name == WATCH:
        return locate(name, where)
    folder = where.parent / name
    if name in NAMES or not folder.is_dir() or any(folder.glob("*.npy")):
        return None
    return folder


def open_dataset(name: str, wanted: Wanted, where: Path) -> Opened:
    """The columns `wanted` of a data set that the job in file `where` names.

    Raises:
        ConfigError: there is no such data set.
        DataError: it cannot be read, or lacks a column.
    """
    path = locate(name, where)
    if path is None:
        return _checked(Opened(SourceConfig(name), bundled.load(name), None), wanted)
    if name in images.SETS:
        return _checked(_open_images(path), wanted)
    source = stored.source_of(path)
    return Opened(source, stored.read(source, wanted), None)


def locate(name: str, where: Path) -> Path | None:
    """The file or folder with a data set that the job in file `where` names; None for one that comes with a package.

    Raises:
        ConfigError: there is no such data set.
    """
    if name in bundled.NAMES:
        return None
    if name == WATCH:
        return examples_folder() / "watch" / "data"
    if name in images.SETS:
        return _folder_of_images(name, where)
    path = where.parent / name
    if not path.exists():
        close = closest(name, NAMES)
        hint = f"did you mean {close!r}? " if close else ""
        kinds = ", ".join((*ENDINGS, stored.PARQUET))
        remedy = f"{hint}data sets are {', '.join(NAMES)}, or a file ({kinds}) or folder beside the job"
        raise ConfigError(str(where), _FIELD, f"there is neither a data set nor a file {name!r}", remedy)
    return path


def examples_folder() -> Path:
    """The examples of this checkout.

    Raises:
        ConfigError: fedloom was installed without them.
    """
    for folder in (Path("examples"), Path(__file__).resolve().parents[2] / "examples"):
        if (folder / "watch" / "job.toml").is_file():
            return folder
    raise ConfigError("examples", "", "are not installed", "run this in a checkout of fedloom's repository")


def _folder_of_images(name: str, where: Path) -> Path:
    folder = images.find(name)
    if folder is None:
        remedy = (
            f"run: {images.SETS[name].install}; or set {images.VARIABLE} to a folder in which {name}/ has the four IDX "
            "files (train-images-idx3-ubyte and so on, .gz or not)"
        )
        raise ConfigError(str(where), _FIELD, f"{name!r} is not on this machine", remedy)
    return folder


def _open_images(folder: Path) -> Opened:
    return Opened(SourceConfig(str(folder)), images.load(folder, images.TRAINING), images.load(folder, images.TEST))


def _checked(opened: Opened, wanted: Wanted) -> Opened:
    for names, present in ((wanted.numbers, opened.table.numbers), (wanted.labels, opened.table.labels)):
        for name in names:
            name_in_file(opened.source, name, present)
    return opened
