from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from branches import stages
from disturbed import shortest
from napari_cryospin.engine import events
from napari_cryospin.engine.events import Finished
from napari_cryospin.engine.judging.switching import SwitchCriterion
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings


@pytest.fixture(autouse=True)
def small(small_searches: None) -> None:
    """Searches are small in all of these tests, unless a module says otherwise."""


@pytest.fixture
def unjudged(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a run that nothing judges, for tests that steer it.

    Judging its map and its poses takes most of the time of a short run.
    """
    settings.held_out = 0.0
    monkeypatch.setattr(SwitchCriterion, "measure", lambda *_: None)
    return settings


@pytest.fixture
def two_starts(small_stack: Path) -> Settings:
    """Settings of a run of a second: two starts, then auto-decoding after a search."""
    return shortest(small_stack / "particles.star")


@pytest.fixture(scope="session")
def whole(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the run of two starts that nobody disturbed; read only."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with made_small():
        *_, last = Reconstruction(shortest(small_stack / "particles.star"), folder).run()
    assert isinstance(last, Finished)
    return RunFolder(folder)


@pytest.fixture
def finished(whole: RunFolder, tmp_path: Path) -> RunFolder:
    """Return a copy of that run."""
    shutil.copytree(whole.path, tmp_path / "finished")
    return RunFolder(tmp_path / "finished")


@pytest.fixture
def branch_settings(short_settings: Settings) -> Settings:
    """Settings of a run of 3 + 2 epochs of five batches, which nothing judges."""
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.held_out, settings.stages = 0.0, stages()
    return settings


@pytest.fixture(scope="module")
def parent(short_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed; read only."""
    folder = RunFolder(tmp_path_factory.mktemp("parent") / "run")
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.held_out, settings.stages = 0.0, stages()
    with made_small():
        *_, last = Reconstruction(settings, folder.path).run()
    assert isinstance(last, events.Finished), last
    return folder


@pytest.fixture
def run(parent: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it that a test may change."""
    return RunFolder(shutil.copytree(parent.path, tmp_path / "run"))
