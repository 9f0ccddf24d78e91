"""A personal model and its update are one step, wherever the process dies; damage costs that model and no more."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from personal_parts import METHODS, SPEC, Device, make_work

from edge_client.effects import Effects
from edge_client.events import SaveModel, SavePersonal
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.model_file import load
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.wire.messages import Phase

ROUNDS = 3


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def die_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`die_at(n)`: the n-th time from now that anything is synced, renamed or removed, it is not, and nothing after."""
    left = [-1]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def deed(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Died
            return real(*arguments, **named)

        return deed

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))

    def set_to(count: int) -> None:
        left[0] = count

    return set_to


def weights(number: int) -> Vector:
    return initial_weights(SPEC, np.random.default_rng(number))


def own(device: Device) -> bytes:
    model = device.directory.personals.read()
    return b"" if model is None else model.weights.tobytes()


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[list[bytes]]:
    """The personal model after each round, where nothing dies."""
    (tmp_path / "whole").mkdir()
    device = Device(1, tmp_path / "whole")
    models = []
    for number in range(ROUNDS):
        device.take_part(make_work(weights(number), METHODS["ditto"], number=number + 1))
        models.append(own(device))
    yield models
    device.directory.release()


def test_wherever_a_round_dies_its_personal_training_counts_once(
    tmp_path: Path, whole: list[bytes], die_at: Callable[[int], None]
) -> None:
    deaths = 0
    for moment in range(1, 100):
        (tmp_path / str(moment)).mkdir()
        device = Device(1, tmp_path / str(moment))
        for number in range(ROUNDS):
            work = make_work(weights(number), METHODS["ditto"], number=number + 1)
            answer = device.answer(work)
            entry = device.entry(answer)
            die_at(moment if number == 1 else -1)
            try:
                device.directory.store(entry, answer.residual, answer.control, answer.personal)
            except Died:
                deaths += 1
                die_at(-1)
                device.start_again()
                is_stored = entry in device.directory.read().entries
                assert own(device) == whole[number if is_stored else number - 1]
                if not is_stored:
                    answer = device.answer(work)
                    assert device.entry(answer) == entry
                    device.directory.store(entry, answer.residual, answer.control, answer.personal)
            die_at(-1)
            device.directory.drop(entry.digest)
            assert own(device) == whole[number]
        device.directory.release()
        if deaths < moment:
            break
    assert deaths >= 6


def test_damage_is_set_aside_with_a_warning_and_the_model_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device(1, tmp_path)
    first = device.take_part(make_work(weights(0), METHODS["ditto"]))
    current = device.directory.personals.current
    content = bytearray(current.read_bytes())
    content[-40] ^= 1
    current.write_bytes(content)
    device.start_again()
    again = device.take_part(make_work(weights(0), METHODS["ditto"]))
    assert again.personal == first.personal
    assert "state.damaged" in caplog.text
    assert [path.name for path in current.parent.iterdir() if "damaged" in path.name] == ["current.damaged-1"]


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[Effects]:
    device = Device(1, tmp_path)
    yield Effects(MemoryLink(MemoryBroker(), "d", lambda event: None), device.directory, tmp_path)
    device.directory.release()


def test_another_jobs_final_model_never_lies_beside_this_jobs_personal_one(
    effects: Effects, tmp_path: Path, die_at: Callable[[int], None]
) -> None:
    """Whatever dies between the two: a mix would be served without anybody noticing."""
    device = Device(2, tmp_path)
    state = tmp_path / "state-1"
    first = make_work(weights(0), METHODS["ditto"], Phase.DONE, run=b"1" * 16)
    second = make_work(weights(1), METHODS["ditto"], Phase.DONE, run=b"2" * 16)
    is_whole = False
    for moment in range(1, 50):
        die_at(-1)
        for work in (first, second):
            personal = device.answer(work).personal
            assert personal is not None
            try:
                die_at(moment if work is second else -1)
                effects.carry_out(SaveModel(work))
                effects.carry_out(SavePersonal(personal))
                is_whole = work is second
            except Died:
                pass
        model = load(state / "model.fedloom")
        if (state / "personal.fedloom").exists():
            assert load(state / "personal.fedloom").meta["run"] == model.meta["run"]
        if is_whole:
            break
    assert is_whole
    assert load(state / "personal.fedloom").meta["run"] == (b"2" * 16).hex()
    assert (state / "personal.fedloom").stat().st_mode & 0o777 == 0o600
