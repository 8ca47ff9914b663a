"""Going on from a run with a symmetry: map and poses turned together, and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from assemblies import BOX, assembly, turned_away
from branches import go_on, whole
from napari_cryospin.engine import events
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.volume import HartleyVolume, grid_of_map
from napari_cryospin.engine.run.branching import branch_epochs, make_branch
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.symmetrising import make_symmetrised
from napari_cryospin.engine.run.turned_state import turned_state
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from napari_cryospin.engine.runfolder.symmetry import found_symmetry, symmetrised_name
from napari_cryospin.engine.stages import AmortizedStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.symmetry_names import parts_of
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.settings import Settings

CPU = torch.device("cpu")


def test_projections_are_the_same_after_the_turn() -> None:
    """Particles show at their turned poses and shifts what they showed before."""
    volume = HartleyVolume(BOX, torch.ones(BOX), torch.Generator())
    volume.assign(grid_of_map(torch.from_numpy(turned_away(assembly("D2")))))
    poses = PoseTable.empty(20, 3, CPU)
    rng = np.random.default_rng(3)
    poses.rotations = torch.from_numpy(random_rotations(20, rng)).float()
    poses.shifts = torch.from_numpy(rng.normal(0, 2, (20, 2))).float()
    state = {"maps": [volume.state_dict()], "poses": poses.state()}
    turned = turned_state(state, "D2")
    after = HartleyVolume(BOX, torch.ones(BOX), torch.Generator())
    after.load_state_dict(turned["maps"][0])
    found = PoseTable.empty(20, 0, CPU)
    found.load(turned["poses"])
    model = ImageModel.within(BOX, 10)
    one, two = (
        model.project(each.grid().detach(), Poses(table.rotations, table.shifts))
        for each, table in ((volume, poses), (after, found))
    )
    assert float(torch.corrcoef(torch.stack((one.flatten(), two.flatten())))[0, 1]) > 0.98
    # candidates were those of another map
    assert found.candidate_losses.shape == (20, 0)


@pytest.mark.usefixtures("small_searches")
def test_it_goes_on_with_the_group_and_is_made_alike_twice(
    copied_run: Path, tmp_path: Path
) -> None:
    before, at = whole(copied_run), branch_epochs(copied_run)[-1]
    for name in ("one", "two"):
        changes = {"direct.epochs": 3, "direct.searches": 1}
        make_branch(copied_run, at, tmp_path / name, symmetrise="C2", changes=changes)
    assert whole(copied_run) == before
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    parent = read_parent(one)
    assert parent is not None and parent.symmetrise == "C2"
    assert "turned to the axes of C2" in parent.sentence()
    settings = one.settings()
    assert settings.model.symmetry == "C2"
    assert [stage.inference for stage in settings.stages] == ["amortized", "direct", "direct"]
    assert settings.stages[-1].volume_update == "closed form"
    go_on(one.path)
    # the other one is stopped after an epoch, and goes on
    run = Reconstruction.resume(two.path)
    for event in run.run():
        if isinstance(event, events.EpochDone):
            run.controls.stop(results=False)
    assert len(two.metrics()) == at + 1
    go_on(two.path)
    assert len(two.metrics()) == at + 3
    volume = read_map(one.map_path)[0]
    assert np.array_equal(volume, read_map(two.map_path)[0])
    # without the first planes, which have no counterpart after half a turn about z
    half = volume[1:, 1:, 1:]
    turned = half[:, ::-1, ::-1]
    assert np.corrcoef(half.ravel(), turned.ravel())[0, 1] > 0.98
    assert fsc(volume, volume)[1] == pytest.approx(1)


@pytest.mark.usefixtures("small_searches")
def test_what_cannot_be_gone_on_with_is_told(copied_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, words in (("C1", "no symmetry to go on"), ("X4", "There is no symmetry X4")):
        with pytest.raises(InputError, match=words):
            make_symmetrised(copied_run, name, out)
    assert not out.exists()
    make_symmetrised(copied_run, "c2", out)
    at, changes = branch_epochs(out)[-1], {"model.symmetry": "C4"}
    with pytest.raises(InputError, match="does not lie on the axes"):
        make_branch(out, at, tmp_path / "again", changes=changes)
    with pytest.raises(InputError, match="has the symmetry C2 already"):
        make_symmetrised(out, "C2", tmp_path / "again")


def test_it_goes_on_from_the_end_of_a_run_that_never_switched(
    settings: Settings, tmp_path: Path
) -> None:
    """Its branch point is from before the best start was chosen."""
    settings.model.encoder, settings.model.encoder_width = "polar", 16
    settings.starts, settings.model.symmetry = 2, "C1"
    settings.stages = [AmortizedStage(teacher="posterior", epochs=1, batch_size=80, lessons=2)]
    with made_small():
        *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Finished)
    folder = RunFolder(tmp_path / "run")
    at = branch_epochs(folder.path)[-1]
    assert at in folder.branch_points()
    make_symmetrised(folder.path, "C2", tmp_path / "c2")
    parent = read_parent(RunFolder(tmp_path / "c2"))
    assert parent is not None and parent.symmetrise == "C2"


def test_the_verdict_names_what_is_gone_on_with(copied_run: Path) -> None:
    run = RunFolder(copied_run)
    verdict = run.verdict()
    assert verdict is not None
    run.write_verdict(replace(verdict, symmetry="D3", symmetry_axis=(0.0, 0.6, 0.8)))
    assert found_symmetry(copied_run) == "D3"
    again = run.verdict()
    assert again is not None and again.symmetry_axis == (0.0, 0.6, 0.8)
    assert symmetrised_name(copied_run, "D3").name == f"{copied_run.name}_D3"
    run.write_verdict(replace(verdict, symmetry=None, pseudo_symmetry="C3"))
    with pytest.raises(InputError, match="but C3, nearly"):
        found_symmetry(copied_run)
    run.write_verdict(replace(verdict, symmetry=None, class_shares=(0.6, 0.4)))
    with pytest.raises(InputError, match=r"No symmetry was found that all classes of .* have: "):
        found_symmetry(copied_run)
    run.verdict_path.unlink()
    with pytest.raises(InputError, match="no verdict yet"):
        found_symmetry(copied_run)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("C1", []),
        ("C2", []),
        ("C6", ["C3", "C2"]),
        ("D2", ["C2"]),
        ("D7", ["C7", "C2"]),
        ("D4", ["D2", "C4", "C2"]),
        ("O", ["T", "D4", "D3", "D2", "C4", "C3", "C2"]),
        ("I", ["T", "D5", "D3", "D2", "C5", "C3", "C2"]),
    ],
)
def test_groups_have_parts(name: str, parts: list[str]) -> None:
    assert parts_of(name) == parts
