"""`fedloom-edge repair`: what to do about state that is damaged, or an old copy; nothing is ever reset in silence."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from edge_client.config import EdgeConfig
from edge_client.incarnation import FILE, last_incarnation, next_incarnation
from edge_client.kept import MAX_ASIDE, put_aside
from edge_client.outbox import Contents, StateDirectory
from edge_client.state import DeviceState
from fedloom.errors import DataError, StoreError
from fedloom.quarantine import set_aside
from fedloom.trust.device_keys import DeviceKeys, load_device_keys

_FREE = "until the next manifest comes, it cannot tell an old one from the newest"


class Step(msgspec.Struct, frozen=True):
    """A thing to be put right."""

    path: str
    problem: str
    remedy: str
    """What is done about it."""


class Repair:
    """What is wrong, and how it is put right."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._acts: list[Callable[[], object]] = []

    def add(self, path: Path, problem: str, remedy: str, act: Callable[[], object]) -> None:
        """One thing more."""
        self.steps.append(Step(str(path), problem, remedy))
        self._acts.append(act)

    def apply(self) -> None:
        """Do it all; the directory must be held.

        Raises:
            OSError: a file cannot be renamed or written.
        """
        for act in self._acts:
            act()


def plan(config: EdgeConfig, directory: StateDirectory, *, is_restored: bool) -> Repair:
    """Look at everything. `is_restored`: the owner knows that the state is an old copy.

    Raises:
        StoreError, TrustError: it cannot be read, or not without keys.
    """
    own, repair = Path(config.keys), Repair()
    keys = load_device_keys(own)
    _look_at_counter(repair, own)
    try:
        contents = directory.read()
    except StoreError as error:
        if not directory.is_state_damaged():
            raise
        contents = Contents(None, ())
        known = f"root version {keys.root.version} and the credential's date, which lie with the keys, are kept"
        remedy = f"set aside; a new incarnation begins; {known}; {_FREE}; an update that waits is lost"
        repair.add(directory.state, str(error), remedy, lambda: _begin_anew(directory, keys, own))
    if contents.state is not None:
        _look_at_age(repair, directory, contents.state, own, is_restored)
    for each in contents.damaged:
        remedy = "set aside; that round's update is lost, or error feedback or control variate begin at zero"
        repair.add(each.path, each.reason, remedy, partial(put_aside, each))
    for path in (directory.model, directory.personal):
        if problem := model_problem(path):
            remedy = "set aside; the model comes again with the end of the next job"
            repair.add(path, problem, remedy, partial(set_aside, path, MAX_ASIDE))
    return repair


def _look_at_counter(repair: Repair, own: Path) -> None:
    try:
        last_incarnation(own)
    except StoreError as error:
        remedy = "set aside; it begins again, above the clock and above the state's own number"
        repair.add(own / FILE, str(error), remedy, lambda: set_aside(own / FILE, MAX_ASIDE))


def _look_at_age(repair: Repair, directory: StateDirectory, state: DeviceState, own: Path, is_restored: bool) -> None:
    """An old copy is numbered anew; so is a state whose counter is damaged, since nobody knows what it said."""
    why = "you say that it is an old copy" if is_restored else "its number cannot be compared with the counter's"
    if not (is_restored or repair.steps) and not (why := old_copy(directory, state, own)):
        return
    remedy = "a new incarnation begins, whose numbers are all new; everything that it knows is kept"
    repair.add(directory.state, why, remedy, lambda: _number_anew(directory, state, own))


def old_copy(directory: StateDirectory, state: DeviceState, keys: Path) -> str:
    """The words for a state that this device has lost once already; empty for any other."""
    newest = last_incarnation(keys)
    if state.incarnation >= newest:
        return ""
    place = f"{directory.state}: is an old copy, of incarnation {state.incarnation}"
    return f"{place}; the counter beside the keys says {newest}, so the aggregator would not hear this device"


def model_problem(path: Path) -> str:
    """What is wrong with a saved model; empty if nothing is, or there is none."""
    if not path.exists():
        return ""
    from fedloom.learning.model_file import load  # with numpy: only where there is a model to look at

    try:
        load(path)
    except DataError as error:
        return str(error)
    return ""


def _begin_anew(directory: StateDirectory, keys: DeviceKeys, own: Path) -> None:
    number = next_incarnation(own, time.time())
    set_aside(directory.state, MAX_ASIDE)
    floor = keys.credential.not_before
    directory.write_state(DeviceState(keys.id, number, root_version=keys.root.version, time_floor=floor))


def _number_anew(directory: StateDirectory, state: DeviceState, own: Path) -> None:
    number = next_incarnation(own, max(time.time(), state.incarnation + 1))
    directory.write_state(msgspec.structs.replace(state, incarnation=number))
