"""Runs as sequences of stages: what ends them, several starts, resuming in each, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.judging.evidence import Judgement
from napari_cryospin.engine.run.checkpoint_reading import read_last_checkpoint
from napari_cryospin.engine.run.epoch import train_to_the_end
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, Inference, MarginalStage
from particle_images import all_images, with_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings

REFINED = {"volume_update": "closed form", "hypotheses": 3, "learning_rate_pose": 0.03}


def of_type(stream: list[events.Event], kind: type[events.Event]) -> list:
    return [event for event in stream if isinstance(event, kind)]


def final_map(folder: Path) -> np.ndarray:
    with mrcfile.open(folder / "map.mrc") as file:
        return np.array(file.data)


def test_a_stage_ends_by_its_criterion(settings: Settings, tmp_path: Path) -> None:
    settings.stages = [MarginalStage(nside=2), DirectStage(epochs=1, **REFINED)]
    stream = list(Reconstruction(settings, tmp_path / "run").run())
    (switched,) = of_type(stream, events.Switched)
    assert (switched.by, switched.stage, switched.inference) == ("criterion", 1, Inference.DIRECT)
    assert 3 < switched.epoch < 40
    done = of_type(stream, events.EpochDone)
    assert any(one.held_out_gain is not None for one in done)
    # modes of the posterior, and then the hypotheses
    assert read_poses(RunFolder(tmp_path / "run"), 0).candidates.shape == (200, 4, 3, 3)
    last = read_poses(RunFolder(tmp_path / "run"), switched.epoch)
    assert last.candidates.shape == (200, 3, 3, 3)
    assert last.inference is Inference.DIRECT


def test_the_best_of_several_starts_goes_on(settings: Settings, tmp_path: Path) -> None:
    settings.stages = [MarginalStage(nside=2, epochs=4), DirectStage(epochs=1, **REFINED)]
    settings.starts = 3
    stream = list(Reconstruction(settings, tmp_path / "run").run())
    switched = of_type(stream, events.Switched)
    assert [(one.stage, one.start) for one in switched] == [(0, 1), (0, 2), (1, 2)]
    assert "Start 2" in switched[0].sentence()
    starts = [one.start for one in of_type(stream, events.EpochDone)]
    assert starts == [0] * 4 + [1] * 4 + [2] * 5
    checkpoint = read_last_checkpoint(RunFolder(tmp_path / "run"), torch.device("cpu"))
    gains = [float(start["judgement"]["gain"].mean()) for start in checkpoint["starts"]]
    assert len(set(gains)) == 3
    (finished,) = of_type(stream, events.Finished)
    assert finished.verdict.starts_agree is not None


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_next_stage_begins_with_the_best_start(
    particles: Particles, settings: Settings, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    settings.stages = [MarginalStage(nside=2, epochs=1, until="epochs"), DirectStage(epochs=0)]
    settings.starts = 3
    judged = iter(range(3))

    def judge(training: Training) -> Judgement:
        gain = torch.full((5,), 1.0 if next(judged) == best else 0.0)
        nothing = torch.zeros(5, 4)
        return Judgement(torch.arange(5), gain, gain, nothing, nothing)

    monkeypatch.setattr(Training, "judge", judge)
    ended = []
    keep = Training.next_stage

    def kept(training: Training) -> None:
        ended.append((training.maps()[0], training.poses.rotations.clone()))
        keep(training)

    monkeypatch.setattr(Training, "next_stage", kept)
    training = Training(particles, settings)
    found = _trained(training)
    assert len(ended) == 3
    assert np.array_equal(found, ended[best][0])
    assert torch.equal(training.poses.rotations, ended[best][1])


def test_particles_dropped_between_starts_do_not_stop_the_verdict(
    settings: Settings, tmp_path: Path
) -> None:
    settings.stages, settings.starts = [MarginalStage(nside=2, epochs=3, until="epochs")], 2
    run = Reconstruction(settings, tmp_path / "run")
    for event in run.run():
        if isinstance(event, events.Switched):
            run.controls.set_used(np.arange(200) % 5 > 0)
    assert isinstance(event, events.Finished)
    assert event.verdict.starts_agree is not None


def test_starts_without_an_epoch_are_not_compared(settings: Settings, tmp_path: Path) -> None:
    settings.stages = [MarginalStage(nside=2, epochs=0), DirectStage(epochs=1)]
    settings.starts = 2
    *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Finished)
    assert last.verdict.starts_agree is None


def test_one_press_ends_one_stage(settings: Settings, tmp_path: Path) -> None:
    """Pressed during the last batch of a stage, which ends anyway."""
    settings.held_out = 0.0
    settings.stages = [DirectStage(epochs=1, batch_size=100) for _ in range(3)]
    run = Reconstruction(settings, tmp_path / "run")
    switched, trained = [], 0
    for event in run.run():
        trained += isinstance(event, events.BatchDone)
        if isinstance(event, events.BatchDone) and trained == 2:
            run.controls.switch()
        if isinstance(event, events.Switched):
            switched.append(event.by)
    assert switched == ["schedule", "schedule"]
    assert trained == 6


def test_a_switch_by_hand_is_remembered(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    for event in run.run():
        if isinstance(event, events.BatchDone) and event.batch == 2:
            run.controls.switch()
        if isinstance(event, events.EpochStarted) and event.stage == 1:
            break
    checkpoint = read_last_checkpoint(RunFolder(tmp_path / "run"), torch.device("cpu"))
    assert checkpoint["clock"]["stage"] == 1


def test_a_map_is_not_made_of_part_of_an_epoch(settings: Settings, tmp_path: Path) -> None:
    settings.stages = [
        MarginalStage(nside=2, epochs=2, until="epochs"),
        DirectStage(epochs=1, batch_size=20, **REFINED),
        DirectStage(epochs=1, batch_size=20, **REFINED),
    ]
    run = Reconstruction(settings, tmp_path / "run")
    maps = []
    for event in run.run():
        if isinstance(event, events.BatchDone) and event.inference is Inference.DIRECT:
            run.controls.switch()
        if isinstance(event, events.EpochDone):
            with mrcfile.open(sorted((tmp_path / "run" / "volumes").iterdir())[-1]) as file:
                maps.append(np.array(file.data))
    assert np.array_equal(maps[1], maps[2])
    assert not np.array_equal(maps[2], maps[3])


@pytest.mark.parametrize(
    "stage",
    [
        # most batches of two hold at least one held-out particle, some hold nothing else
        DirectStage(epochs=1, batch_size=2, pose_steps=1, **REFINED),
        DirectStage(epochs=3, low_pass_start=60, low_pass_end=12, **REFINED),
        MarginalStage(nside=2, epochs=2, until="epochs", prior="non-negative"),
        MarginalStage(nside=4, epochs=1, until="epochs", quadrature="importance"),
    ],
)
def test_stages_that_once_failed(settings: Settings, tmp_path: Path, stage: object) -> None:
    settings.stages = [stage]
    *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Finished), last.message


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([MarginalStage(epochs=0)], "The stages have no epochs: give one of them at least one."),
        (
            [DirectStage(low_pass_end=90)],
            "Stage 1: its low-pass filter leaves nothing of images of 32 px at 4 Å; "
            "choose 64 Å or less.",
        ),
        (
            [DirectStage(), MarginalStage(low_pass_start=10, low_pass_end=20)],
            "Stage 2: its low-pass filter ends at 20 Å, coarser than it starts; start at more Å, "
            "or end at fewer.",
        ),
    ],
)
def test_stages_that_cannot_be_run_are_named(
    settings: Settings, tmp_path: Path, stages: list, sentence: str
) -> None:
    settings.stages = stages
    *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Failed)
    assert (last.message, last.bad_input) == (sentence, True)
    assert not (tmp_path / "run").exists()


def test_dropped_particles_do_not_judge_the_march(particles: Particles, settings: Settings) -> None:
    settings.stages = [MarginalStage(nside=2, epochs=4, until="epochs", batch_size=50)]
    training = Training(particles, settings)
    used = np.ones(particles.n, dtype=bool)
    used[training.held_out.nonzero().flatten()[:10]] = False
    training.choose(used)
    _trained(training)
    assert len(training.inference.evidence.gain) == 40


def test_few_particles_are_all_learned_from_at_the_next_epoch(
    particles: Particles, settings: Settings
) -> None:
    """A choice changes nothing in the midst of an epoch, and can be taken back."""
    training = Training(particles, settings)
    held = training.held_out.clone()
    training.choose(np.arange(particles.n) < 40)
    assert torch.equal(training.held_out, held)
    training.begin_epoch()
    assert not training.held_out.any()
    training.choose(np.ones(particles.n, dtype=bool))
    training.begin_epoch()
    assert not training.held_out.any()
    training.end_epoch()
    training.begin_epoch()
    assert torch.equal(training.held_out, held)


STAGES: dict[str, Callable[[], list]] = {
    "marginal": lambda: [MarginalStage(nside=2, epochs=3, until="epochs")],
    "sampled": lambda: [
        MarginalStage(nside=2, epochs=2, until="epochs"),
        MarginalStage(nside=4, epochs=2, until="epochs", quadrature="importance"),
    ],
    "gradient": lambda: [
        MarginalStage(nside=2, epochs=3, until="epochs", map_update="gradient", prior="none")
    ],
    "direct": lambda: [
        MarginalStage(nside=2, epochs=1, until="epochs"),
        DirectStage(epochs=3, searches=2, batch_size=50, **REFINED),
    ],
    "amortized": lambda: [
        AmortizedStage(epochs=2, until="criterion", learning_rate_encoder=1e-3),
        DirectStage(epochs=2),
    ],
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize(("batch", "starts"), [(3, 1), (7, 2)])
def test_every_stage_is_resumed_on_its_trajectory(
    settings: Settings, tmp_path: Path, name: str, batch: int, starts: int
) -> None:
    settings.stages, settings.starts = STAGES[name](), starts
    list(Reconstruction(settings, tmp_path / "whole").run())
    run = Reconstruction(settings, tmp_path / "parts")
    seen = 0
    for event in run.run():
        seen += isinstance(event, events.BatchDone)
        if seen == batch:
            run.controls.stop(results=False)
    list(Reconstruction.resume(tmp_path / "parts").run())
    assert np.allclose(final_map(tmp_path / "parts"), final_map(tmp_path / "whole"), atol=1e-5)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_that_searches_again_is_resumed_on_its_trajectory(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    # as if poses were quiet after every epoch
    monkeypatch.setattr("napari_cryospin.engine.inference.searches._QUIET", 2.0)
    settings.stages = [
        MarginalStage(nside=2, epochs=1, until="epochs"),
        DirectStage(until="criterion", epochs=4, searches=3, batch_size=50, **REFINED),
    ]

    def searched(run: Reconstruction, stop_after: int = 0) -> int:
        begun = epochs = 0
        for event in run.run():
            if isinstance(event, events.Progress) and event.task == "Searching poses":
                begun += event.done == 0
            epochs += isinstance(event, events.EpochDone) and event.inference is Inference.DIRECT
            if epochs == stop_after > 0:
                run.controls.stop(results=False)
        return begun

    assert searched(Reconstruction(settings, tmp_path / "whole")) == 3
    assert searched(Reconstruction(settings, tmp_path / "parts"), after) == after
    assert searched(Reconstruction.resume(tmp_path / "parts")) == 3 - after
    assert np.array_equal(final_map(tmp_path / "parts"), final_map(tmp_path / "whole"))


@pytest.mark.parametrize(("heads", "hypotheses"), [(1, 3), (2, 3), (2, 1), (6, 3)])
def test_a_stage_with_more_candidates_than_the_first_is_resumed(
    settings: Settings, tmp_path: Path, heads: int, hypotheses: int
) -> None:
    settings.model.heads = heads
    direct = DirectStage(epochs=2, searches=1, **REFINED | {"hypotheses": hypotheses})
    settings.stages = [
        AmortizedStage(epochs=1),
        MarginalStage(nside=2, epochs=1, until="epochs"),
        direct,
    ]
    list(Reconstruction(settings, tmp_path / "whole").run())
    run = Reconstruction(settings, tmp_path / "parts")
    for event in run.run():
        if isinstance(event, events.EpochDone) and event.inference is Inference.DIRECT:
            run.controls.stop(results=False)
    *_, last = Reconstruction.resume(tmp_path / "parts").run()
    assert isinstance(last, events.Finished), last
    assert np.array_equal(final_map(tmp_path / "parts"), final_map(tmp_path / "whole"))


def test_a_run_that_ended_in_its_first_start_goes_on(settings: Settings, tmp_path: Path) -> None:
    settings.stages = [
        MarginalStage(nside=2, epochs=1, until="hand"),
        DirectStage(epochs=1, **REFINED),
    ]
    settings.starts = 3
    folder = RunFolder(tmp_path / "run")
    list(Reconstruction(settings, folder.path).run())
    found = final_map(folder.path)
    # its results are lost
    folder.events_path.unlink()
    *_, last = Reconstruction.resume(folder.path).run()
    assert isinstance(last, events.Finished), last
    assert np.array_equal(final_map(folder.path), found)
    # more epochs, the last stage among them
    settings.stages[0].epochs += 1
    folder.write_settings(settings)
    run = Reconstruction.resume(folder.path)
    for event in run.run():
        if isinstance(event, events.BatchDone):
            run.controls.switch()
    assert isinstance(event, events.Finished), event
    assert folder.metrics()[-1]["inference"] == "direct"


@pytest.mark.parametrize("name", STAGES)
def test_no_map_learns_from_held_out_particles(
    particles: Particles, settings: Settings, name: str
) -> None:
    settings.stages = STAGES[name]()
    maps = []
    for noise in (0.0, 3.0):
        held = Training(particles, settings).held_out
        assert held.sum() == 50
        spoiled = all_images(particles).clone()
        spoiled[held] += noise * torch.randn(50, 32, 32, generator=torch.Generator().manual_seed(1))
        maps.append(_trained(Training(with_images(particles, spoiled), settings)))
    assert np.array_equal(*maps)


def _trained(training: Training) -> np.ndarray:
    train_to_the_end(training)
    return training.maps()[0]


@pytest.mark.parametrize(
    "stage",
    [
        DirectStage(
            epochs=2, pose_update="gauss-newton", pose_steps=2, volume_update="closed form"
        ),
        DirectStage(epochs=2, pose_update="gauss-newton", pose_steps=1),
        DirectStage(epochs=2, pose_steps=2, volume_update="closed form"),
        MarginalStage(epochs=2, quadrature="exact", until="epochs"),
        MarginalStage(epochs=2, quadrature="importance", until="epochs"),
    ],
)
def test_settings_change_something_unless_they_are_idle(
    particles: Particles, settings: Settings, stage: DirectStage | MarginalStage
) -> None:
    def poses(**changed: float) -> np.ndarray:
        some = settings.model_copy(update={"stages": [stage.model_copy(update=changed)]})
        training = Training(particles, some)
        train_to_the_end(training)
        return training.poses.rotations.numpy()

    shares = {"visit_rate": 0.5, "final_rate": 0.5}
    factors = {"learning_rate_pose": 2, "learning_rate_volume": 2, "temperature": 3}
    before = poses()
    for name in (*shares, *factors):
        if name in type(stage).model_fields:
            after = poses(**{name: shares.get(name) or getattr(stage, name) * factors[name]})
            assert np.array_equal(after, before) == (name in stage.idle), name
