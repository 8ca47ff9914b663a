"""Runs of all sorts that are stopped or killed anywhere come to the same end, bit by bit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from disturbed import is_same, kill
from napari_cryospin.engine import events
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.stages import Stage

pytestmark = [pytest.mark.slow_campaign, pytest.mark.usefixtures("small_searches")]


def some_stage(chance: random.Random) -> Stage:
    of_all = {
        "epochs": chance.randint(1, 3),
        "until": chance.choice(("epochs", "criterion", "hand")),
    }
    match chance.choice("AMMDD"):
        case "A":
            return AmortizedStage(batch_size=chance.choice((16, 64)), **of_all)
        case "M":
            return MarginalStage(
                nside=2,
                batch_size=chance.choice((16, 40, 500)),
                quadrature=chance.choice(("auto", "importance", "exact")),
                map_update=chance.choice(("closed form", "gradient")),
                prior=chance.choice(("shells", "none", "non-negative")),
                **of_all,
            )
        case _:
            return DirectStage(
                batch_size=chance.choice((16, 50, 500)),
                pose_steps=2,
                hypotheses=chance.randint(1, 3),
                searches=chance.randint(0, 2),
                volume_update=chance.choice(("closed form", "adam")),
                **of_all,
            )


def some_settings(chance: random.Random, stack: Path) -> Settings:
    """Return settings of a run of seconds."""
    settings = Settings.from_preset("default")
    settings.threads, settings.device, settings.seed = 1, "cpu", chance.randrange(5)
    settings.data.stack, settings.data.box = stack, 32
    settings.data.max_particles = chance.choice((24, 40, 160))
    settings.starts = chance.choice((1, 1, 2, 3))
    settings.model.heads, settings.model.encoder_width = chance.choice((1, 2, 4)), 8
    settings.model.shifts, settings.model.scales = chance.random() < 0.4, chance.random() < 0.5
    settings.held_out = chance.choice((0, 0.05, 0.2))
    settings.stages = [some_stage(chance) for _ in range(chance.choice((1, 2, 2, 3)))]
    return settings


@pytest.mark.parametrize("seed", range(150))
def test_a_disturbed_run_comes_to_the_same_end(
    seed: int, small_stack: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    settings = some_settings(chance, small_stack / "particles.star")
    whole = Reconstruction(settings.model_copy(deep=True), tmp_path / "whole")
    story = list(whole.run())
    assert isinstance(story[-1], events.Finished), story[-1]
    place, how = chance.randrange(1, len(story)), chance.choice(("stop", "hurry", "kill"))
    settings.checkpoint_minutes = chance.choice((1e-9, 5))
    run = Reconstruction(settings.model_copy(deep=True), tmp_path / "parts")
    seen = 0

    def here(_: object) -> bool:
        nonlocal seen
        seen += 1
        return seen == place

    if how == "kill":
        kill(run, here)
    else:
        for event in run.run():
            if here(event):
                run.controls.stop(results=how == "stop")
    folder = RunFolder(tmp_path / "parts")
    if folder.path.is_dir():
        again = Reconstruction.resume(folder.path)
    else:
        again = Reconstruction(settings, folder.path)
    *_, last = again.run()
    assert isinstance(last, events.Finished), last
    assert is_same(folder, whole.folder)
