"""Where several want the same working file at once, one makes it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.data import working_files
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.settings import DataSettings
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from napari_cryospin.engine.data.table import ParticleTable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no locks of that kind")

SETTINGS = DataSettings(box=32)


class Slow:
    """The reading of raw images: the first thread that reads waits until it may go on.

    Attributes
    ----------
    begun
        Set once an image is asked for.
    go
        To be set.
    readers
        The threads that have read, by number.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.readers: list[int] = []
        read = StackReader.read

        def slow(reader: StackReader, rows: np.ndarray) -> np.ndarray:
            self.readers.append(threading.get_ident())
            self.begun.set()
            if threading.get_ident() == self.readers[0]:
                assert self.go.wait(30)
            return read(reader, rows)

        monkeypatch.setattr(StackReader, "read", slow)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv(working_files.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(working_files, "_LOOK", 0.01)
    return tmp_path / "cache"


@pytest.fixture
def table(tiny_stack: Path) -> ParticleTable:
    return read_table(tiny_stack / "particles.star")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_who_comes_second_waits_and_reads_no_raw_image(
    cache: Path,
    table: ParticleTable,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(monkeypatch)
    first = threads.submit(working_files.make, table, SETTINGS)
    assert slow.begun.wait(30)
    seen: list[tuple[int, int]] = []

    def waits(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            slow.go.set()

    second = threads.submit(working_files.make, table, SETTINGS, waits)
    assert torch.equal(all_images(first.result(30)), all_images(second.result(30)))
    assert len(set(slow.readers)) == 1
    assert set(seen) == {(0, table.n_particles)}
    assert len(list(cache.iterdir())) == 1


def test_it_is_waited_for_until_the_file_is_flushed_and_stands_in_its_place(
    cache: Path,
    table: ParticleTable,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushing, go, calls = threading.Event(), threading.Event(), list[int]()

    def slow(file: int) -> None:
        calls.append(file)
        flushing.set()
        assert go.wait(30)

    monkeypatch.setattr(os, "fsync", slow)
    first = threads.submit(working_files.make, table, SETTINGS)
    assert flushing.wait(30)
    second = threads.submit(working_files.make, table, SETTINGS, lambda *_: go.set())
    assert torch.equal(all_images(first.result(30)), all_images(second.result(30)))
    assert len(calls) == 1


def test_waiting_may_be_ended(
    cache: Path,
    table: ParticleTable,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cancelled(Exception):
        pass

    def cancel(_done: int, _total: int) -> None:
        raise Cancelled

    slow = Slow(monkeypatch)
    first = threads.submit(working_files.make, table, SETTINGS)
    assert slow.begun.wait(30)
    with pytest.raises(Cancelled):
        working_files.make(table, SETTINGS, cancel)
    slow.go.set()
    assert first.result(30).n == 40


def test_nobody_waits_for_other_particles_or_for_what_stands_still(
    cache: Path,
    table: ParticleTable,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow(monkeypatch)
    first = threads.submit(working_files.make, table, SETTINGS)
    assert slow.begun.wait(30)
    (being_written,) = cache.iterdir()
    assert working_files.make(table, DataSettings(box=32, max_particles=20)).n == 20
    os.utime(being_written, (1, 1))
    assert working_files.make(table, SETTINGS).n == 40
    slow.go.set()
    assert first.result(30).n == 40
    assert len(list(cache.iterdir())) == 2
