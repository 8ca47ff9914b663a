"""A working file holds what was written, is found again, and is never believed where it is not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine.data import preprocess, working_file, working_files
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.plan import Plan
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import DataSettings
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable

SETTINGS = DataSettings(box=32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv(working_files.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def table(tiny_stack: Path) -> ParticleTable:
    return read_table(tiny_stack / "particles.star")


def file_in(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_both_homes_hold_the_same_images(cache: Path, table: ParticleTable) -> None:
    in_memory, on_disk = prepare(table, SETTINGS), working_files.make(table, SETTINGS)
    expected, found = all_images(in_memory), all_images(on_disk)
    torch.testing.assert_close(found, expected, rtol=2**-10, atol=1e-5)
    for name in ("n", "box", "pixel_size", "mask_power", "notes"):
        assert getattr(on_disk, name) == getattr(in_memory, name)
    assert torch.equal(on_disk.ctf_parameters, in_memory.ctf_parameters)
    assert (on_disk.signatures() - in_memory.signatures()).abs().max() < 1e-3


def test_what_is_found_again_is_bit_by_bit_what_was_written_and_no_image_is_read(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert working_files.find(table, SETTINGS) is None
    made = working_files.make(table, SETTINGS)
    monkeypatch.setattr(StackReader, "read", lambda *_: pytest.fail("a raw image was read"))
    seen: list[tuple[int, int]] = []
    again = working_files.find(table, SETTINGS, lambda *state: seen.append(state))
    assert again is not None and seen == [(made.n, made.n)]
    assert torch.equal(all_images(again), all_images(made))
    assert again.notes == made.notes
    assert np.array_equal(again.rows, made.rows)


@pytest.mark.parametrize(
    "rows", [[5], [3, 4, 5, 9], [9, 2, 3, 2, 2, 39, 0], list(range(40)), []], ids=str
)
def test_any_rows_are_read_in_the_order_asked_for(
    cache: Path, table: ParticleTable, rows: list[int]
) -> None:
    particles = working_files.make(table, SETTINGS)
    wanted = torch.tensor(rows, dtype=torch.long)
    assert torch.equal(particles.images(wanted), all_images(particles)[wanted])


def test_images_come_to_the_device_of_the_run(
    cache: Path,
    table: ParticleTable,
    second_device: Callable[[], AbstractContextManager[torch.device]],
) -> None:
    particles, rows = working_files.make(table, SETTINGS), torch.tensor([3, 1, 20])
    with second_device() as device:
        found = particles.to(device).images(rows.to(device))
        assert found.device.type == torch.device(device).type
        assert torch.equal(found.cpu(), particles.images(rows))


def test_images_that_are_set_aside_leave_no_gap(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = StackReader.read

    def one_is_blank(self: StackReader, rows: np.ndarray) -> np.ndarray:
        images = read(self, rows)
        images[rows == 7] = 0
        return images

    monkeypatch.setattr(StackReader, "read", one_is_blank)
    in_memory, on_disk = prepare(table, SETTINGS), working_files.make(table, SETTINGS)
    again = working_files.find(table, SETTINGS)
    assert again is not None
    for found in (on_disk, again):
        assert found.rows.tolist() == [row for row in range(40) if row != 7]
        assert found.set_aside.rows.tolist() == [7]
        assert found.set_aside.sentence() == in_memory.set_aside.sentence()
        torch.testing.assert_close(all_images(found), all_images(in_memory), rtol=2**-10, atol=1e-5)


def test_values_beyond_sixteen_bits_are_kept(tmp_path: Path) -> None:
    images = 1e6 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[1] /= 1e6
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    home = working_file.FileHome(file, 3, 16)
    home.put(np.arange(3), images)
    os.close(file)
    assert home._units.tolist()[1] == 1
    raw = np.fromfile(tmp_path / "file", "<f2", offset=4096).reshape(3, 16, 16)
    stored = torch.from_numpy(raw).float() * home._units[:, None, None]
    torch.testing.assert_close(stored, images, rtol=2**-10, atol=0)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def cut_in_the_images(path: Path) -> None:
    os.truncate(path, 20_000)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def other_bytes(path: Path, at: int = 4096 + 32 * 32 * 2 * 20) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(range(256)))


def other_sizes(path: Path) -> None:
    other_bytes(path, 16)


def other_trailer(path: Path) -> None:
    other_bytes(path, path.stat().st_size - 600)


def emptied_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def one_bit(path: Path, at: int = 4096 + 32 * 32 * 2 * 20 + 500) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (value,) = file.read(1)
        file.seek(at)
        file.write(bytes([value ^ 1]))


@pytest.mark.parametrize(
    "damage",
    [one_bit, cut_short, cut_in_the_images, emptied, other_bytes, other_sizes, other_trailer],
)
def test_a_damaged_file_is_not_believed_and_goes(
    cache: Path, table: ParticleTable, damage: Callable[[Path], None]
) -> None:
    working_files.make(table, SETTINGS)
    path = file_in(cache)
    damage(path)
    assert working_files.find(table, SETTINGS) is None
    assert not path.exists()
    assert working_files.make(table, SETTINGS).n == 40


def test_a_file_of_other_particles_under_the_same_name_is_not_believed(
    cache: Path, table: ParticleTable
) -> None:
    working_files.make(replace(table, image_index=table.image_index[::-1].copy()), SETTINGS)
    file_in(cache).rename(cache / f"{working_files.key_of(Plan.of(table, SETTINGS))}.f16")
    assert working_files.find(table, SETTINGS) is None


def test_what_is_cut_short_while_it_is_in_use_is_told(cache: Path, table: ParticleTable) -> None:
    particles = working_files.make(table, SETTINGS)
    cut_in_the_images(file_in(cache))
    assert particles.images(torch.tensor([0])).isfinite().all()
    with pytest.raises(InputError, match=r"cannot be read any more: it was cut short; .* again"):
        particles.images(torch.arange(40))


@pytest.mark.parametrize("damage", [emptied_in_place, other_bytes, one_bit])
def test_what_is_changed_while_it_is_in_use_is_told(
    cache: Path, table: ParticleTable, damage: Callable[[Path], None]
) -> None:
    particles = working_files.make(table, SETTINGS)
    damage(file_in(cache))
    with pytest.raises(InputError, match=r"cannot be read any more: it was changed; .* again"):
        particles.images(torch.arange(40))


def test_a_file_that_the_disk_cannot_read_any_more_is_made_anew(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_images(working_files.make(table, SETTINGS))
    read, images = os.preadv, range(4096, 4096 + 40 * 32**2 * 2)

    def bad_sector(file: int, buffers: list[memoryview], at: int) -> int:
        if at in images:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(file, buffers, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", bad_sector)
        assert working_files.find(table, SETTINGS, lambda *_: None) is None
    assert not list(cache.iterdir())
    assert torch.equal(all_images(working_files.make(table, SETTINGS)), expected)


@pytest.mark.parametrize(
    "settings",
    [
        DataSettings(box=32, mask_diameter=40),
        DataSettings(box=32, contrast="black"),
        DataSettings(box=32, max_particles=39),
    ],
    ids=str,
)
def test_other_settings_are_other_images(
    cache: Path, table: ParticleTable, settings: DataSettings
) -> None:
    key = working_files.key_of(Plan.of(table, SETTINGS))
    assert working_files.key_of(Plan.of(table, settings)) != key
    moved = replace(table, rotations=None, shifts=None, defocus=None)
    assert working_files.key_of(Plan.of(moved, SETTINGS)) == key


def test_images_that_were_written_again_are_others(
    cache: Path, table: ParticleTable, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.mrcs"
    copy.write_bytes(table.stacks[0].read_bytes())
    plan = Plan.of(replace(table, stacks=(copy,)), SETTINGS)
    before = working_files.key_of(plan)
    os.utime(copy, (1, 1))
    assert working_files.key_of(plan) != before


def test_images_that_were_replaced_under_the_same_time_are_others(
    table: ParticleTable, tmp_path: Path
) -> None:
    first, second, link = (tmp_path / f"{name}.mrcs" for name in ("first", "second", "link"))
    for copy in (first, second):
        copy.write_bytes(table.stacks[0].read_bytes())
        os.utime(copy, (1, 1))
    link.symlink_to(first)
    direct, linked = (Plan.of(replace(table, stacks=(path,)), SETTINGS) for path in (first, link))
    before = working_files.key_of(direct)
    assert working_files.key_of(linked) == before
    link.unlink()
    link.symlink_to(second)
    assert working_files.key_of(linked) != before
    # as a tool does that copies into the file, and sets its time as it was
    time.sleep(0.02)
    first.write_bytes(first.read_bytes()[::-1])
    os.utime(first, (1, 1))
    assert working_files.key_of(direct) != before


@pytest.mark.parametrize("named", ["~/images", "images"])
def test_the_folder_is_where_the_user_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(working_files.VARIABLE, named)
    assert working_files.folder() == tmp_path / "images"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(InputError, match=r"GiB in .*No space left on device.*free some room"):
        working_files.make(table, SETTINGS)
    assert not list(cache.iterdir())


def test_too_little_room_is_told_before_anything_is_read(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StackReader, "read", lambda *_: pytest.fail("a raw image was read"))
    monkeypatch.setattr(working_files, "size_of", lambda *_: 2**60)
    with pytest.raises(InputError, match="too little room"):
        working_files.make(table, SETTINGS)


def test_what_is_cancelled_leaves_nothing(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, _total: int) -> None:
        if done > 10:
            raise Cancelled

    monkeypatch.setattr(preprocess, "_CHUNK_BYTES", 10 * 4 * 32**2)
    with pytest.raises(Cancelled):
        working_files.make(table, SETTINGS, cancel)
    assert not list(cache.iterdir())


def made_old(particles: Particles, age: float) -> Path:
    path = particles.store.path
    used = path.stat().st_mtime - age
    os.utime(path, (used, used))
    return path


def test_the_files_used_longest_ago_go_and_those_in_use_stay(
    cache: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(n: int) -> DataSettings:
        return DataSettings(box=32, max_particles=n)

    in_use = working_files.make(table, of(30))
    oldest = made_old(in_use, 3000)
    paths = [made_old(working_files.make(table, of(n)), age) for n, age in ((31, 2000), (32, 1000))]
    # what is used again is not old any more
    assert working_files.find(table, of(31)) is not None
    monkeypatch.setattr(working_files, "_MOST", sum(path.stat().st_size for path in paths) + 10)
    working_files.clear()
    assert oldest.exists() and paths[0].exists() and not paths[1].exists()
    del in_use
    monkeypatch.setattr(working_files, "_MOST", 0)
    working_files.clear()
    assert not list(cache.iterdir())


def test_what_a_killed_process_left_is_swept_away(cache: Path, table: ParticleTable) -> None:
    cache.mkdir()
    old, new = (cache / f".{'a' * 64}.{digit * 16}.writing.f16" for digit in "01")
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    working_files.clear()
    assert not old.exists() and new.exists()


KILLED_WHILE_WRITING = """
import os
from pathlib import Path
from napari_cryospin.engine.data.working_file import writing
with writing(Path("key.f16"), 2, 32):
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("when", [working_files.clear, "find"], ids=["clear", "find"])
def test_what_was_killed_on_this_host_goes_at_once(
    cache: Path, table: ParticleTable, when: Callable[[], None] | str
) -> None:
    cache.mkdir()
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING], cwd=cache, check=False)
    left = file_in(cache)
    assert left.name.endswith(".writing.f16")
    with working_file.writing(cache / "other.f16", 2, 32):
        if callable(when):
            when()
        else:
            assert working_files.find(table, SETTINGS) is None
        # what is being written stays
        assert not left.exists() and len(list(cache.iterdir())) == 1
