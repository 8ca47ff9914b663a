from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.files import Sink, is_left_over, replacing, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(bytes(1000)),
        lambda file: np.save(file, np.arange(1000.0)),
        lambda file: torch.save({"tensor": torch.ones(1000)}, file),
    ],
    ids=["bytes", "numpy", "torch"],
)
def test_a_full_disk_is_told_with_the_file_by_every_writer(
    write: Callable[[BinaryIO], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "whole.bin"
    path.write_bytes(b"before")
    full = OSError(errno.ENOSPC, "No space left on device")

    class Full:
        """The file of a full disk."""

        def write(self, _data: object) -> int:
            raise full

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("pathlib.Path.open", lambda *_: Full())
    with pytest.raises(OSError, match="No space left") as raised, writing(path) as file:
        write(file)
    monkeypatch.undo()
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["whole.bin"]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    with writing(tmp_path / "a.npy") as file:
        np.save(file, np.arange(1000.0).reshape(10, 100))
    with writing(tmp_path / "a.pt") as file:
        torch.save({"tensor": torch.arange(1000)}, file)
    assert np.load(tmp_path / "a.npy")[9, 99] == 999
    assert torch.load(tmp_path / "a.pt", weights_only=True)["tensor"][999] == 999


def test_a_failed_flush_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_number: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    path = tmp_path / "a.txt"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="quota") as raised, replacing(path) as temporary:
        temporary.write_text("after")
    assert raised.value.filename == str(path)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    other = tmp_path / "absent"
    with pytest.raises(OSError, match="absent") as raised, replacing(tmp_path / "a.txt"):
        other.read_text()
    assert raised.value.filename == str(other) or raised.value.filename == other
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["map.mrc", "settings.toml", "epoch_0001.pt", "no_suffix"])
def test_a_temporary_file_is_known(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        assert is_left_over(temporary)
        assert not is_left_over(tmp_path / name)


@pytest.mark.parametrize("at", range(1, 12, 2))
def test_an_interruption_while_torch_writes_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    path, write, left = tmp_path / "state.pt", Sink.write, at

    def interrupted(sink: Sink, data: bytes) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return write(sink, data)

    path.write_bytes(b"before")
    monkeypatch.setattr(Sink, "write", interrupted)
    with pytest.raises(KeyboardInterrupt), writing(path) as file:
        torch.save({name: torch.zeros(1000) for name in "abcdefgh"}, file)
    assert left <= 0
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
