"""A disk that refuses, at every moment of a run: a sentence, nothing lost, and it goes on."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

# files that the tiny run replaces or makes, each with one flush
_FILES = 19


def story(run: Reconstruction) -> events.Failed | events.Finished:
    """Run to the end; exactly one terminal event ends it."""
    ends = []
    for event in run.run():
        assert not ends, "something came after the end"
        if isinstance(event, events.Failed | events.Finished):
            ends.append(event)
    (end,) = ends
    return end


def goes_on(settings: Settings, folder: Path) -> Reconstruction:
    """Return the run that a user would begin once there is room."""
    if RunFolder(folder).checkpoints():
        return Reconstruction.resume(folder)
    # the same command again
    return Reconstruction(settings, folder)


def is_told(end: events.Event, *words: str) -> bool:
    assert isinstance(end, events.Failed)
    assert end.bad_input, end.details
    assert "\n" not in end.message
    return all(word in end.message for word in words)


def same_poses(one: Path, other: Path) -> bool:
    epochs = recorded_epochs(RunFolder(one))
    assert epochs == recorded_epochs(RunFolder(other))
    return all(
        np.array_equal(
            read_poses(RunFolder(one), epoch).rotations,
            read_poses(RunFolder(other), epoch).rotations,
        )
        for epoch in epochs
    )


def refuse_flush(monkeypatch: pytest.MonkeyPatch, place: int, number: int) -> list[int]:
    """Let the flush of one file fail, and all later ones; return what counts them."""
    count = [0]
    flush = os.fsync

    def counted(descriptor: int) -> None:
        count[0] += 1
        if count[0] > place:
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    return count


def test_every_file_of_a_run_is_among_those_that_fail(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = refuse_flush(monkeypatch, 10**9, errno.ENOSPC)
    assert isinstance(story(Reconstruction(tiny_settings, tmp_path / "run")), events.Finished)
    assert count == [_FILES]


@pytest.mark.parametrize("place", range(_FILES))
def test_a_disk_that_is_full_at_any_file(
    place: int,
    tiny_settings: Settings,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "run"
    refuse_flush(monkeypatch, place, errno.ENOSPC)
    assert is_told(story(Reconstruction(tiny_settings, folder)), "the disk is full")
    monkeypatch.undo()
    assert not [path for path in folder.rglob("*") if "writing" in path.name]
    assert isinstance(story(goes_on(tiny_settings, folder)), events.Finished)
    assert same_poses(folder, tiny_run)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every file that grows beyond so many bytes fail in the middle of a write."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [300, 1_200, 5_000, 100_000, 400_000])
def test_a_write_that_is_cut_in_the_middle(
    size: int, tiny_settings: Settings, tiny_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with largest_file(size):
        end = story(Reconstruction(tiny_settings, folder))
    assert is_told(end, "larger than is allowed", "make room")
    assert isinstance(story(goes_on(tiny_settings, folder)), events.Finished)
    assert same_poses(folder, tiny_run)


@pytest.mark.parametrize(
    ("gone", "at"),
    [
        ("removed", 0),
        ("removed", 10),
        ("removed", 25),
        ("renamed", 5),
        ("renamed", 15),
        ("a file", 10),
        ("a file", 20),
    ],
)
def test_a_folder_that_goes_while_it_is_written(
    gone: str, at: int, tiny_settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run = Reconstruction(tiny_settings, folder)
    seen, end = 0, None
    for event in run.run():
        assert end is None
        if isinstance(event, events.Failed | events.Finished):
            end = event
        if run.folder.settings_path.exists():
            seen += 1
            if seen == at + 1:
                if gone == "renamed":
                    folder.rename(tmp_path / "elsewhere")
                else:
                    shutil.rmtree(folder)
                if gone == "a file":
                    folder.write_text("")
    if seen > at and not isinstance(end, events.Finished):
        assert is_told(end, str(folder), "has gone")
    if gone == "renamed" and RunFolder(tmp_path / "elsewhere").checkpoints():
        assert isinstance(story(Reconstruction.resume(tmp_path / "elsewhere")), events.Finished)


def test_a_log_that_refuses_does_not_hide_the_end(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "events.jsonl")

    monkeypatch.setattr(RunFolder, "append_event", full)
    end = story(Reconstruction(tiny_settings, tmp_path / "run"))
    assert is_told(end, "events.jsonl", "the disk is full")


def test_leaving_the_stream_is_no_failure(tiny_settings: Settings, tmp_path: Path) -> None:
    stream = Reconstruction(tiny_settings, tmp_path / "run").run()
    for event in stream:
        if isinstance(event, events.EpochDone):
            break
    stream.close()  # type: ignore[attr-defined]
    assert "Failed" not in (tmp_path / "run" / "events.jsonl").read_text()


def test_ctrl_c_is_not_swallowed(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "append_metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        story(Reconstruction(tiny_settings, tmp_path / "run"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tiny_settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        end = story(Reconstruction(tiny_settings, tmp_path / "run"))
    finally:
        tmp_path.chmod(0o700)
    assert isinstance(end, events.Failed)
    assert end.bad_input


def test_images_that_are_cut_short_while_they_are_read(
    tiny_settings: Settings, tiny_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = tmp_path / "stack"
    shutil.copytree(tiny_stack, stack)
    tiny_settings.data.stack = stack / "particles.star"
    from napari_cryospin.engine.data.stack import StackReader

    read = StackReader.read

    def cut_first(self: StackReader, rows: np.ndarray) -> np.ndarray:
        os.truncate(stack / "particles.mrcs", 20_000)
        return read(self, rows)

    monkeypatch.setattr(StackReader, "read", cut_first)
    end = story(Reconstruction(tiny_settings, tmp_path / "run"))
    assert is_told(end, "particles.mrcs")
