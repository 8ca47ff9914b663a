"""A run comes to the same with its working images in memory and on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.data import working_files
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.working_file import OnDisk
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.run import homes, memory_estimate
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.run.fingerprint import require_particles
from napari_cryospin.engine.run.following import look
from napari_cryospin.engine.run.loading import load_particles
from napari_cryospin.engine.run.progress import Stopped
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.runfolder.fingerprint import Fingerprint
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

N = 40
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv(working_files.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def finished(settings: Settings, folder: Path) -> list[events.Event]:
    story = list(Reconstruction(settings, folder).run())
    assert isinstance(story[-1], events.Finished), story[-1]
    return story


def no_raw_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackReader, "read", lambda *_: pytest.fail("a raw image was read"))


@pytest.mark.usefixtures("small_searches")
def test_a_run_on_disk_is_that_in_memory_and_the_next_reads_no_images(
    tiny_settings: Settings, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_settings.data.particles_in = "disk"
    story = finished(tiny_settings, tmp_path / "disk")
    (started,) = (event for event in story if isinstance(event, events.RunStarted))
    assert any("live on disk" in note for note in started.notes)
    one, two = (read_snapshot(RunFolder(folder)) for folder in (tiny_run, tmp_path / "disk"))
    apart = angular_distance(one.poses.rotations, two.poses.rotations)
    # rounding may tip a particle from one cell of the coarse grid into the next
    assert (apart < 1).mean() > 0.9
    likeness = np.corrcoef(one.volume.volume.ravel(), two.volume.volume.ravel())[0, 1]
    assert likeness > 0.99
    no_raw_images(monkeypatch)
    assert look(tmp_path / "disk").particles.n == N
    resumed = Reconstruction.resume(tmp_path / "disk")
    assert isinstance(list(resumed.run())[-1], events.Finished)
    assert resumed.particles is not None
    assert isinstance(resumed.particles.store, OnDisk)


def test_a_run_may_be_resumed_in_the_other_home(
    tiny_settings: Settings, tiny_run: Path, cache: Path
) -> None:
    table = read_table(tiny_settings.data.stack)
    on_disk = working_files.make(table, tiny_settings.data)
    state = read_last_checkpoint(RunFolder(tiny_run), CPU)
    before = Fingerprint.from_figures(state["fingerprint"])
    require_particles(before, on_disk)
    tiny_settings.data.particles_in = "disk"
    before.require_settings(tiny_settings, tiny_run / "settings.toml")


@pytest.mark.parametrize(
    ("share", "asked", "expected"),
    [
        (3.0, "auto", False),
        (1.5, "auto", True),
        (1.5, "memory", False),
        (3.0, "disk", True),
        (None, "auto", False),
    ],
)
def test_the_free_memory_decides_unless_the_user_does(
    tiny_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    share: float | None,
    asked: str,
    expected: bool,
) -> None:
    free = None if share is None else share * N * 32**2 * 4
    monkeypatch.setattr(memory_estimate, "free_memory", lambda: free)
    tiny_settings.data.particles_in = asked
    table = read_table(tiny_settings.data.stack)
    assert homes.live_on_disk(tiny_settings.data, table) == expected


def test_images_that_do_not_fit_on_a_device_stay_where_they_are(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    particles = homes.look_at(tiny_settings.data)
    device = torch.device("meta")
    for free, where in ((1e9, "meta"), (N * 32**2 * 4, "cpu")):
        monkeypatch.setattr(memory_estimate, "free_on", lambda _, free=free: free)
        moved = homes.moved(particles, device)
        assert moved.device == device
        assert moved.store.images.device.type == where
        assert moved.images(torch.arange(3)).device == device


def test_a_damaged_file_is_made_anew_when_a_run_begins(
    tiny_settings: Settings, cache: Path
) -> None:
    tiny_settings.data.particles_in = "disk"
    table = read_table(tiny_settings.data.stack)
    expected = working_files.make(table, tiny_settings.data).images(torch.arange(N))
    (path,) = cache.iterdir()
    with path.open("r+b") as file:
        file.seek(20_000)
        file.write(bytes(range(200)))
    loading = load_particles(tiny_settings, CPU, [], lambda: False)
    try:
        while True:
            next(loading)
    except StopIteration as end:
        assert torch.equal(end.value.images(torch.arange(N)), expected)


def test_reading_that_is_stopped_leaves_no_file(tiny_settings: Settings, cache: Path) -> None:
    tiny_settings.data.particles_in = "disk"
    stopped = False
    loading = load_particles(tiny_settings, CPU, [], lambda: stopped)
    assert isinstance(next(loading), events.Progress)
    stopped = True
    with pytest.raises(Stopped):
        list(loading)
    assert not list(cache.glob(".*"))


def test_too_little_memory_for_what_was_asked_into_it_is_told(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_settings.data.particles_in = "memory"
    table = read_table(tiny_settings.data.stack)
    monkeypatch.setattr(memory_estimate, "free_memory", lambda: 1.0)
    with pytest.raises(InputError, match="let the working images live on disk"):
        memory_estimate.require_memory(tiny_settings, table, CPU)


def test_particles_are_opened_by_path_or_by_settings(tiny_stack: Path, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    opened = homes.open_particles(
        str(tiny_stack / "particles.star"),
        box=32,
        max_particles=30,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (opened.n, opened.box) == (30, 32)
    assert seen[-1] == (30, 30)
    data = DataSettings(stack=tiny_stack / "particles.star", box=32)
    on_disk = homes.open_particles(data, max_particles=30, particles_in="disk")
    assert isinstance(on_disk.store, OnDisk)
    rows = torch.arange(30)
    torch.testing.assert_close(on_disk.images(rows), opened.images(rows), atol=0.01, rtol=0.001)
    assert data.max_particles is None


@pytest.mark.parametrize(
    ("values", "said"), [({"box": 33}, "setting 'box'"), ({"boks": 32}, "setting 'boks'")]
)
def test_what_particles_cannot_be_opened_with_is_named(
    tiny_stack: Path, values: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        homes.open_particles(tiny_stack / "particles.star", **values)
