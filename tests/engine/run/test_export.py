"""The poses of a run as files for other programs; no training is needed for any of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch
from cryosparc.dataset import Dataset
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.columns import read_blocks
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.geometry.hand import mirrored_map
from napari_cryospin.engine.geometry.rotations import angular_distance, random_rotations
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.run.checkpoint_reading import fit_in, read_last_checkpoint
from napari_cryospin.engine.run.checkpoint_writing import write_checkpoint
from napari_cryospin.engine.run.export import export_poses
from napari_cryospin.engine.run.fingerprint import fingerprint_of
from napari_cryospin.engine.run.results import write_results
from napari_cryospin.engine.run.snapshot import poses_event
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import write_poses
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.state.pose_table import PoseTable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path, small_stack: Path) -> RunFolder:
    """A finished run that found the true poses, of a dark copy of the small stack."""
    stack = tmp_path / "data"
    stack.mkdir()
    images = mrcfile.read(small_stack / "particles.mrcs")
    with mrcfile.new(stack / "particles.mrcs") as mrc:
        mrc.set_data(-images)
        mrc.set_image_stack()
        mrc.voxel_size = 4.0
    shutil.copy(small_stack / "particles.star", stack)
    settings = Settings.from_preset("default")
    settings.data.stack = stack / "particles.star"
    settings.data.box, settings.data.contrast = 32, "black"
    return finished(tmp_path / "run", settings, small_stack / "truth.star")


def finished(path: Path, settings: Settings, truth: Path) -> RunFolder:
    assert settings.data.stack is not None
    working = prepare(read_table(settings.data.stack), settings.data)
    training = Training(working, settings)
    rotations = read_star(truth).rotations
    assert rotations is not None
    training.poses.rotations = torch.from_numpy(rotations).float()
    training.poses.losses[:] = 1
    training.poses.scales = torch.linspace(0.8, 1.2, working.n)
    training.volume.assign(grid_of_map(torch.from_numpy(read_map(truth.with_suffix(".mrc"))[0])))
    training.measure_fit()
    training.used[3] = False
    folder = RunFolder(path)
    fingerprint = fingerprint_of(working, settings)
    folder.create(settings, fingerprint)
    write_checkpoint(folder, training.state() | {"fingerprint": fingerprint.figures()}, 1)
    for _ in write_results(folder, training, None):
        pass
    return folder


@pytest.fixture
def truth(small_stack: Path) -> np.ndarray:
    rotations = read_star(small_stack / "truth.star").rotations
    assert rotations is not None
    return np.delete(rotations, 3, axis=0)


@pytest.mark.parametrize("kind", ["star", "cs"])
def test_a_finished_run_gives_its_final_poses(
    run: RunFolder, tmp_path: Path, truth: np.ndarray, kind: str
) -> None:
    out = tmp_path / f"out.{kind}"
    (said,) = [text for text in export_poses(run, out) if str(out) in text]
    assert "199 particles" in said
    found = read_table(out)
    assert angular_distance(found.rotations, truth).max() < 1e-3
    assert not found.particles_are_white
    final = read_star(run.star_path)
    np.testing.assert_array_equal(found.half_set, final.half_set)
    np.testing.assert_array_equal(found.image_index, final.image_index)


def test_scales_and_fits_go_with_the_poses(run: RunFolder, tmp_path: Path) -> None:
    export_poses(run, tmp_path / "out.star")
    export_poses(run, tmp_path / "out.cs")
    scales = np.delete(np.linspace(0.8, 1.2, 200), 3)
    for path in (run.star_path, tmp_path / "out.star"):
        assert np.allclose(numbers(path, "cryospinScale"), scales, atol=1e-5)
        # images and map are in other units here, so that how good the fit is does not matter
        for name in ("cryospinLogLikelihood", "cryospinExplained"):
            values = numbers(path, name)
            assert np.isfinite(values).mean() > 0.9 and np.nanstd(values) > 0
            assert np.array_equal(values, numbers(run.star_path, name), equal_nan=True)
    alpha = np.load(tmp_path / "out.cs", allow_pickle=False)["alignments3D/alpha"]
    assert np.allclose(alpha, scales)


def test_who_belongs_can_be_written_alone(run: RunFolder, tmp_path: Path) -> None:
    state = read_last_checkpoint(run, torch.device("cpu"))
    n = len(state["poses"]["membership"])
    state["poses"]["membership"] = (torch.arange(n) % 4 > 0).float()
    write_checkpoint(run, state, 2)
    parts = {}
    for which in ("all", "members", "others"):
        export_poses(run, tmp_path / f"{which}.star", which=which)
        parts[which] = read_star(tmp_path / f"{which}.star").image_index
    kept = np.delete(np.arange(n), 3)
    assert parts["all"].tolist() == kept.tolist()
    assert parts["members"].tolist() == kept[kept % 4 > 0].tolist()
    assert parts["others"].tolist() == kept[kept % 4 == 0].tolist()
    rotations = read_star(run.star_path).rotations
    found = read_star(tmp_path / "others.star").rotations
    assert rotations is not None and found is not None
    assert angular_distance(found, rotations[kept % 4 == 0]).max() < 1e-3


def test_where_nobody_is_left_nothing_is_written(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not belong to the map"):
        export_poses(run, tmp_path / "out.star", which="others")
    assert not list(tmp_path.glob("out*"))


def numbers(path: Path, name: str) -> np.ndarray:
    column = read_blocks(path)["particles"].frame[name]
    return column.to_numpy(dtype=object).astype(float)


def test_an_interrupted_run_gives_its_last_ones(
    run: RunFolder, tmp_path: Path, truth: np.ndarray
) -> None:
    for path in (run.star_path, run.map_path, run.verdict_path):
        path.unlink(missing_ok=True)
    export_poses(run, tmp_path / "out.star")
    assert angular_distance(read_star(tmp_path / "out.star").rotations, truth).max() < 1e-3


def test_a_run_without_poses_says_so(run: RunFolder, tmp_path: Path) -> None:
    for path in run.checkpoints():
        path.unlink()
    with pytest.raises(InputError, match="no poses yet"):
        export_poses(run, tmp_path / "out.star")


def test_both_formats_tell_the_same(run: RunFolder, tmp_path: Path) -> None:
    for kind in ("star", "cs"):
        export_poses(run, tmp_path / f"out.{kind}")
    star, cs = (read_table(tmp_path / f"out.{kind}") for kind in ("star", "cs"))
    assert angular_distance(star.rotations, cs.rotations).max() < 1e-3
    np.testing.assert_allclose(star.shifts, cs.shifts, atol=1e-3)
    assert len(Dataset.load(tmp_path / "out.cs")) == 199


def map_of(path: Path, *, box: int = 32) -> np.ndarray:
    """Back-project a table with its poses."""
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = path, box
    folder = finished_of(path, settings)
    return read_map(folder.map_path)[0]


def finished_of(path: Path, settings: Settings) -> RunFolder:
    table = read_table(path)
    training = Training(prepare(table, settings.data), settings)
    assert table.rotations is not None
    training.poses.rotations = torch.from_numpy(table.rotations).float()
    folder = RunFolder(path.with_name(f"{path.stem}_run"))
    folder.create(settings)
    for _ in write_results(folder, training, None):
        pass
    return folder


def test_flipped_poses_make_the_mirrored_map(run: RunFolder, tmp_path: Path) -> None:
    said = export_poses(run, tmp_path / "flip.star", flip_hand=True)
    assert any("mirror image" in text for text in said)
    mirrored, pixel_size = read_map(tmp_path / "flip_map.mrc")
    volume, _ = read_map(run.map_path)
    np.testing.assert_array_equal(mirrored, mirrored_map(volume))
    assert pixel_size == 4.0
    found = map_of(tmp_path / "flip.star")
    # the voxels of the first layer have no mirror image in the box
    assert np.corrcoef(found[1:].ravel(), mirrored[1:].ravel())[0, 1] > 0.999
    assert np.corrcoef(found[1:].ravel(), volume[1:].ravel())[0, 1] < 0.9


@pytest.mark.parametrize("kind", ["star", "cs"])
def test_an_inverted_stack_has_the_sign_of_the_map(
    run: RunFolder, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / f"white.{kind}"
    said = export_poses(run, out, invert=True)
    assert any("white.mrcs" in text for text in said)
    assert not any("negative" in text for text in said)
    table = read_table(out)
    assert table.particles_are_white
    assert table.stacks == (tmp_path / "white.mrcs",)
    before = mrcfile.read(tmp_path / "data" / "particles.mrcs")
    np.testing.assert_array_equal(
        mrcfile.read(tmp_path / "white.mrcs"), -np.delete(before, 3, axis=0)
    )
    with mrcfile.open(tmp_path / "white.mrcs", header_only=True) as mrc:
        assert (float(mrc.voxel_size.x), int(mrc.header.nz), int(mrc.header.ispg)) == (4, 199, 0)
    ours, _ = read_map(run.map_path)
    curve = fsc(map_of(out), ours)
    assert curve[1:12].min() > 0.99


def test_dark_particles_are_told(run: RunFolder, tmp_path: Path) -> None:
    said = export_poses(run, tmp_path / "out.star")
    assert any("dark on disk" in text for text in said)
    assert "cryospinParticlesAreWhite" in run.star_path.read_text()


def test_nothing_is_replaced(run: RunFolder, tmp_path: Path) -> None:
    for name in ("out.star", "out_map.mrc", "out.mrcs"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name} is there already"):
            export_poses(run, tmp_path / "out.star", flip_hand=True, invert=True)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("data/particles.star", "what the run was made of"),
        ("run/particles.star", "belongs to the run"),
        ("out.txt", "as .star or as .cs"),
    ],
)
def test_some_names_are_never_written(
    run: RunFolder, tmp_path: Path, name: str, sentence: str
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=sentence):
        export_poses(run, tmp_path / name, may_replace=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_an_inverted_stack_never_replaces_the_run_s_own(run: RunFolder, tmp_path: Path) -> None:
    before = (tmp_path / "data" / "particles.mrcs").read_bytes()
    with pytest.raises(InputError, match="what the run was made of"):
        export_poses(run, tmp_path / "data" / "particles.cs", invert=True, may_replace=True)
    assert (tmp_path / "data" / "particles.mrcs").read_bytes() == before


def test_a_file_is_replaced_where_the_user_said_so_but_none_beside_it(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "out.star").write_text("mine")
    (tmp_path / "out_map.mrc").write_text("mine")
    with pytest.raises(InputError, match=r"out_map\.mrc is there already"):
        export_poses(run, tmp_path / "out.star", flip_hand=True, may_replace=True)
    export_poses(run, tmp_path / "out.star", may_replace=True)
    assert read_star(tmp_path / "out.star").n_particles == 199


def test_a_format_and_a_suffix_that_disagree_are_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"let it end with \.cs"):
        export_poses(run, tmp_path / "out.star", kind="cs")


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_table_in_another_order_is_refused(
    run: RunFolder, tmp_path: Path, interrupted: bool
) -> None:
    if interrupted:
        run.star_path.unlink()
    stack = tmp_path / "data" / "particles.star"
    lines = stack.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if "@" in line)
    stack.write_text("".join([*lines[:first], *sorted(lines[first:], reverse=True)]))
    with pytest.raises(InputError, match="another order"):
        export_poses(run, tmp_path / "out.star")


def test_recorded_poses_do_where_there_is_no_checkpoint(
    run: RunFolder, tmp_path: Path, truth: np.ndarray
) -> None:
    state = read_last_checkpoint(run, torch.device("cpu"))
    poses, used = PoseTable(**state["poses"]), state["used"].numpy()
    poses.scales[:] = 1.25
    fit = fit_in(state, len(used))
    write_poses(run, poses_event(poses, fit, used, 0, Inference.DIRECT, 4.0, None))
    for path in run.checkpoints():
        path.unlink()
    export_poses(run, tmp_path / "out.star")
    assert set(numbers(tmp_path / "out.star", "cryospinScale")) == {1.25}
    assert angular_distance(read_star(tmp_path / "out.star").rotations, truth).max() < 0.01


def test_a_cryosparc_table_comes_back_with_its_uids(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "bug_reports" / "cs" / "J6" / "neg.cs"
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = path, 32
    training = Training(prepare(read_table(path), settings.data), settings)
    rng = np.random.default_rng(0)
    training.poses.rotations = torch.from_numpy(random_rotations(60, rng)).float()
    folder = RunFolder(tmp_path / "run")
    folder.create(settings)
    write_checkpoint(folder, training.state(), 1)
    for kind in ("cs", "star"):
        export_poses(folder, tmp_path / f"out.{kind}")
    before, after = Dataset.load(path), Dataset.load(tmp_path / "out.cs")
    np.testing.assert_array_equal(after["uid"], before["uid"])
    assert set(before.fields()) < set(after.fields())
    vectors = Rotation.from_rotvec(-np.asarray(after["alignments3D/pose"], np.float64))
    star = read_star(tmp_path / "out.star")
    assert angular_distance(vectors.as_matrix(), star.rotations).max() < 1e-3
