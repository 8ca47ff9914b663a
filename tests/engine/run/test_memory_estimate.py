from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run import memory_estimate
from napari_cryospin.engine.run.memory_estimate import GIB, estimate_memory, free_memory
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.settings import ModelSettings, Settings
from napari_cryospin.engine.stages import DirectStage, MarginalStage
from napari_cryospin.engine.sums.search import numbers_needed

if TYPE_CHECKING:
    from pathlib import Path

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_the_computer_has_available_is_free(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    write(tmp_path, "proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert free_memory(tmp_path) == 2048 * 1024


def test_a_control_group_leaves_less(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemAvailable: 1000000 kB\n")
    write(tmp_path, "proc/self/cgroup", "0::/job/step\n")
    group = "sys/fs/cgroup/job"
    write(tmp_path, f"{group}/step/memory.max", "max\n")
    write(tmp_path, f"{group}/step/memory.current", "100\n")
    assert free_memory(tmp_path) == 1000000 * 1024
    write(tmp_path, f"{group}/memory.max", "5000\n")
    write(tmp_path, f"{group}/memory.current", "3000\n")
    write(tmp_path, f"{group}/memory.stat", "anon 7\ninactive_file 500\n")
    assert free_memory(tmp_path) == 2500


def test_so_does_one_of_the_first_version(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "9:cpu:/a\n4:memory:/job\n")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n")
    write(tmp_path, "sys/fs/cgroup/memory/job/memory.usage_in_bytes", "6000\n")
    assert free_memory(tmp_path) == 0


def test_this_computer_says_what_is_free() -> None:
    free = free_memory()
    assert free is None or free > 0


@pytest.mark.parametrize("preset", ["default", "cryospin", "paper-synthetic", "paper-experimental"])
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_more_of_anything_needs_more(preset: str, device: torch.device) -> None:
    settings = Settings.from_preset(preset)

    def need(n: int, box: int) -> float:
        found = estimate_memory(settings, n, box, 2.0, device)
        assert (found.device == 0) == (device is CPU)
        return found.host + found.device

    assert need(1000, 64) < need(100_000, 64) < need(100_000, 128) < need(1_000_000, 128)


def test_images_in_memory_are_counted_once_and_on_disk_not_at_all() -> None:
    settings = Settings.from_preset("default")
    images = 1_000_000 * 128**2 * 4
    in_memory, on_disk = (
        estimate_memory(settings, 1_000_000, 128, 2.0, CPU, on_disk=where).host
        for where in (False, True)
    )
    assert images < in_memory < 1.3 * images
    assert in_memory - on_disk == pytest.approx(images, rel=0.05)


def test_classes_halves_and_starts_have_maps_of_their_own() -> None:
    box, grid = 256, 257**3 * 4

    def need(classes: int, *, halves: bool | None = False, starts: int = 1) -> float:
        settings = Settings.from_preset("default")
        settings.model.classes, settings.model.halves = classes, halves
        settings.starts = starts
        return estimate_memory(settings, 2000, box, 2.0, CPU).host / grid

    # a map has 12 grids, the problem's and those of each half, and 8 when it is judged
    assert need(3) - need(1) == pytest.approx(2 * (12 + 8), abs=1)
    for classes in (1, 3):
        more = need(classes, halves=True) - need(classes)
        assert more == pytest.approx(2 * 12 * classes, abs=1)
    assert need(3, halves=None) == need(3, halves=True)
    # two starts of several classes are three
    assert need(10, starts=2) > need(10) + 100


def test_a_search_keeps_slices_of_every_map() -> None:
    stage = DirectStage(volume_update="closed form", pose_update="gauss-newton", searches=1)

    def need(classes: int, stage: DirectStage = stage) -> float:
        inference = stage.inference.implementation()
        model = ModelSettings(classes=classes, halves=False)
        return inference.memory_needed(stage, model, 64, CPU)

    assert need(2) - need(1) == pytest.approx(numbers_needed(64) * 4) != 0
    many = stage.model_copy(update={"batch_size": 5000, "searches": 0})
    # hypotheses read the coefficients of their image
    assert need(1, many) == need(1, many.model_copy(update={"hypotheses": 9}))


def test_the_slices_of_each_map_are_kept_or_not() -> None:
    stage = MarginalStage(nside=16)

    def need(classes: int) -> float:
        inference = stage.inference.implementation()
        return inference.memory_needed(stage, ModelSettings(classes=classes), 64, CPU)

    assert need(3) - need(2) == pytest.approx(need(2) - need(1), rel=0.01)
    assert need(2) > need(1)


def last_of(settings: Settings, folder: Path) -> tuple[events.Event, tuple[str, ...]]:
    story = list(Reconstruction(settings, folder).run())
    notes = [event.notes for event in story if isinstance(event, events.RunStarted)]
    return story[-1], notes[0] if notes else ()


@pytest.mark.parametrize(
    ("share", "refused", "noted"), [(0.5, True, False), (1.1, False, True), (2, False, False)]
)
def test_a_run_that_needs_more_than_is_free_is_refused(
    share: float,
    refused: bool,
    noted: bool,
    tiny_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need = estimate_memory(tiny_settings, 40, 32, 4.0, CPU).host
    monkeypatch.setattr(memory_estimate, "free_memory", lambda: share * need)
    end, notes = last_of(tiny_settings, tmp_path / "run")
    assert isinstance(end, events.Failed) == refused
    assert any("Memory is tight" in note and "GiB" in note for note in notes) == noted
    if isinstance(end, events.Failed):
        assert end.bad_input
        assert "GiB" in end.message
        assert "fewer particles" in end.message
        assert not (tmp_path / "run").exists()


def test_a_devices_memory_is_weighed_too(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cryospin.engine.data.load import read_table

    assert tiny_settings.data.stack is not None
    table = read_table(tiny_settings.data.stack)
    monkeypatch.setattr(memory_estimate, "free_memory", lambda: None)
    monkeypatch.setattr(memory_estimate, "free_on", lambda _: 0.01 * GIB)
    with pytest.raises(InputError, match="cuda"):
        memory_estimate.require_memory(tiny_settings, table, CUDA)
