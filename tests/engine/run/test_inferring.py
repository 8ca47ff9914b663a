"""Encoders that outlive their run: saved, used on other particles, and where another run begins."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import starfile
import torch

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.resize import working_sizes
from napari_cryospin.engine.data.table import OpticsGroup
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.alignment import align_rotations
from napari_cryospin.engine.events import Failed, Finished, RunStarted
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.run.encoder_file import read_encoder, write_encoder
from napari_cryospin.engine.run.inferring import Teachings, infer
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.encoder import SavedEncoder
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from small_searches import made_small

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
LEARNED, SAMPLE, UNSEEN = 700, 500, 300


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one stack, off-centre, in two tables: learned.star and unseen.star."""
    folder = tmp_path_factory.mktemp("stacks")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    n = LEARNED + UNSEEN
    simulate(volume, folder, n_particles=n, pixel_size=4.0, snr=1.0, shift_std=4.0, seed=5)
    whole = starfile.read(folder / "particles.star")
    for name, part in (("learned", slice(LEARNED)), ("unseen", slice(LEARNED, None))):
        rows = {**whole, "particles": whole["particles"].iloc[part]}
        starfile.write(rows, folder / f"{name}.star")
    return folder


def settings_for(stacks: Path) -> Settings:
    settings = Settings.from_preset("default")
    settings.data.stack, settings.data.box = stacks / "learned.star", 32
    settings.threads, settings.starts, settings.device = 1, 1, "cpu"
    settings.stages[0].particles = SAMPLE
    settings.stages[0].batch_size = 200
    settings.stages[1].epochs = 6
    return settings


@pytest.fixture(autouse=True)
def small() -> None:
    """Searches are at full size here: particles that were never seen depend on them."""


@pytest.fixture(scope="module")
def taught(stacks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that has learned from a sample of its particles."""
    folder = tmp_path_factory.mktemp("taught") / "run"
    *_, last = Reconstruction(settings_for(stacks), folder).run()
    assert isinstance(last, Finished), last
    return folder


def errors_of(run: Path, stacks: Path, star: Path) -> np.ndarray:
    """Return the errors of poses in the frame of a run, degrees."""
    truth = read_table(stacks / "truth.star").rotations
    own, others = read_table(run / "particles.star"), read_table(star)
    assert truth is not None and own.rotations is not None and others.rotations is not None
    frame = align_rotations(own.rotations, truth[own.image_index], None)
    return angular_distance(frame.apply(others.rotations), truth[others.image_index])


def test_particles_beyond_the_sample_are_as_right(taught: Path, stacks: Path) -> None:
    errors = errors_of(taught, stacks, taught / "particles.star")
    assert len(errors) == LEARNED
    assert np.median(errors) < 3
    assert (errors < 15).mean() > 0.97


def test_poses_of_particles_that_were_never_seen(
    taught: Path, stacks: Path, tmp_path: Path
) -> None:
    out, done = tmp_path / "out.star", []
    found = infer(
        RunFolder(taught), stacks / "unseen.star", out, progress=lambda *told: done.append(told)
    )
    assert done[-1] == (UNSEEN, UNSEEN)
    errors = errors_of(taught, stacks, out)
    assert len(errors) == UNSEEN
    # the encoder has learned from few; benchmarks/results/inferring.md has many
    assert np.median(errors) < 3
    assert (errors < 15).mean() > 0.9
    table, truth = starfile.read(out)["particles"], read_table(stacks / "truth.star")
    assert truth.shifts is not None
    written = table[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy()
    assert np.median(np.abs(written - truth.shifts[LEARNED:])) < 2
    weights = table["cryospinPoseWeight"]
    assert weights.between(0, 1).all()
    assert weights[errors < 15].mean() > 0.9
    assert (table["cryospinLogLikelihood"] > 0).mean() > 0.9
    assert np.allclose(table["cryospinScale"], found.scales.numpy(), rtol=1e-4)
    # the user's own columns are kept
    before = starfile.read(stacks / "unseen.star")["particles"]
    assert (table["rlnDefocusU"] == before["rlnDefocusU"].to_numpy()).all()
    # the encoder alone is coarser, and does not search
    coarse = tmp_path / "coarse.star"
    infer(RunFolder(taught), stacks / "unseen.star", coarse, refine=False)
    alone = errors_of(taught, stacks, coarse)
    assert np.median(errors) < np.median(alone) < 20


def test_another_run_begins_with_what_was_learned(
    taught: Path, stacks: Path, tmp_path: Path
) -> None:
    settings = settings_for(stacks)
    settings.data.stack, settings.seed = stacks / "unseen.star", 8
    settings.warm_start, settings.starts = taught, 3
    events = list(Reconstruction(settings, tmp_path / "run").run())
    assert isinstance(events[-1], Finished), events[-1]
    (started,) = (event for event in events if isinstance(event, RunStarted))
    assert any("begins with the encoder and the map" in note for note in started.notes)
    errors = errors_of(taught, stacks, tmp_path / "run" / "particles.star")
    # in the same frame: nothing was found anew
    assert np.median(errors) < 3
    cold, warm = (len(_encoding(RunFolder(run))) for run in (taught, tmp_path / "run"))
    assert warm < cold


def _encoding(folder: RunFolder) -> list[dict[str, str]]:
    return [row for row in folder.metrics() if row["inference"] == "amortized"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.heads": 3}, "has 8 heads, and that of the settings has 3 heads"),
        ({"model.encoder": "vgg"}, "is 'polar', and that of the settings is 'vgg'"),
        ({"stages": ["direct"]}, "needs an encoder"),
    ],
)
def test_what_does_not_fit_is_refused(
    taught: Path, stacks: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    settings = settings_for(stacks)
    settings.warm_start = taught
    for where, value in change.items():
        if where == "stages":
            settings.stages = settings.stages[1:]
        else:
            settings.set(where, value)
    *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, Failed) and last.bad_input
    assert words in last.message
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_read_as_it_was_written(finished_run: Path) -> None:
    folder = RunFolder(finished_run)
    saved, encoder = read_encoder(folder, CPU)
    assert (saved.kind, saved.heads, saved.box, saved.pixel_size) == ("vgg", 3, 32, 4.0)
    assert saved.epoch == 2 and len(saved.noise) == 16
    weights = torch.load(folder.encoder_weights_path, weights_only=True)
    assert torch.equal(
        weights["features.0.running_mean"], encoder.state_dict()["features.0.running_mean"]
    )
    assert not encoder.training


def test_a_run_that_was_resumed_keeps_its_encoder(copied_run: Path) -> None:
    class Resumed:
        """What writes results of a run whose auto-encoding another process has done."""

        class Inference:
            encoder = None

            class noise:
                variance = torch.full((16,), 2.0)

        inference, encoded, clock = Inference, None, type("Clock", (), {"epoch": 4})

    before = RunFolder(copied_run).encoder_weights_path.read_bytes()
    write_encoder(RunFolder(copied_run), Resumed)  # type: ignore[arg-type]
    assert RunFolder(copied_run).encoder_weights_path.read_bytes() == before
    assert SavedEncoder.read(copied_run).noise == (2.0,) * 16


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "holds no encoder"),
        (lambda folder: (folder / "encoder.toml").write_text("heads = 3"), "is not usable"),
        (lambda folder: (folder / "encoder.toml").write_text("]"), "is damaged"),
        (lambda folder: (folder / "weights.pt").write_bytes(b"PK"), "cannot be read"),
        (lambda folder: (folder / "weights.pt").unlink(), "cannot be read"),
    ],
)
def test_a_damaged_encoder_is_told(copied_run: Path, spoil: object, words: str) -> None:
    spoil(copied_run / "encoder")  # type: ignore[operator]
    with pytest.raises(InputError, match=words):
        Teachings.of(RunFolder(copied_run), CPU)


def test_images_are_cropped_to_the_width_of_the_runs() -> None:
    group = OpticsGroup("wide", 2.0, 100)
    sizes, _ = working_sizes([group], 32, 160.0)
    assert (sizes.box, sizes.pixel_size, sizes.crops) == (32, 5.0, (80,))
    with pytest.raises(InputError, match="are 200 Å wide, and those of the run 250 Å"):
        working_sizes([group], 32, 250.0)
    with pytest.raises(InputError, match="pixels of 6 Å, and the run works with 5 Å"):
        working_sizes([OpticsGroup("coarse", 6.0, 40)], 32, 160.0)


def test_a_run_without_an_encoder_has_none(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stages without auto-encoding have none"):
        infer(RunFolder(tiny_run), tmp_path / "any.star", tmp_path / "out.star")
    assert not (tmp_path / "out.star").exists()


def test_an_encoder_is_saved_where_a_run_is_stopped_in_auto_encoding(
    short_settings: Settings, tmp_path: Path
) -> None:
    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.run.controls import Controls

    controls = Controls()
    with made_small():
        run = Reconstruction(short_settings.model_copy(deep=True), tmp_path / "run", controls)
        for event in run.run():
            if isinstance(event, EpochDone):
                controls.stop()
    assert read_encoder(RunFolder(tmp_path / "run"), CPU)[0].epoch == 1
