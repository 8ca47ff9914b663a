"""The engine on a second device, pretended or real: it mixes nothing, and finds what the CPU does.

The pretended device computes as the CPU does, so its runs are the CPU's to the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest
import torch

from napari_cryospin.engine import events
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.kernels import with_torch_alone
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.summary import credible_levels, summarise
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.run.snapshot import read_snapshot
from napari_cryospin.engine.run.survey import survey_epoch
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses, recorded_epochs
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.simulate import simulate
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage, encodes
from napari_cryospin.engine.state.pose_table import PoseTable
from small_searches import made_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.run.survey import EpochSurvey

    SecondDevice = Callable[[], AbstractContextManager[torch.device]]


# a stack of sixty is judged
_FEW = {
    "run.trainable._FEWEST_PARTICLES": 40,
    "run.trainable._FEWEST_HELD": 10,
    "run.training._FEWEST_LEARNING": 10,
}


@pytest.fixture(autouse=True, scope="module")
def few_particles() -> Iterator[None]:
    with made_small(_FEW):
        yield


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a few particles, off-centre."""
    folder = tmp_path_factory.mktemp("particles")
    volume = procedural_molecule(box=32, pixel_size=4.0)
    simulate(volume, folder, n_particles=60, pixel_size=4.0, snr=1.0, shift_std=2.0, seed=3)
    return folder


def small(simulated: Path, preset: str = "default") -> Settings:
    """Settings of a run of a second or two."""
    settings = Settings.from_preset(preset)
    settings.device, settings.threads = "cpu", 1
    settings.data.stack, settings.data.box = simulated / "particles.star", 32
    if preset == "quick":
        settings.data.truth_star = simulated / "truth.star"
        settings.data.truth_map = simulated / "truth.mrc"
    settings.model.heads, settings.model.encoder_width = 2, 4
    for stage in settings.stages:
        stage.epochs = 1
        if isinstance(stage, MarginalStage):
            stage.nside = 2
        else:
            stage.batch_size = 30
    return settings


COARSE = MarginalStage(nside=2, epochs=1, until="epochs")
STAGES: dict[str, list[Any]] = {
    "sampled": [
        COARSE,
        MarginalStage(nside=4, epochs=1, until="epochs", quadrature="importance"),
    ],
    "gradient": [
        MarginalStage(nside=2, epochs=1, map_update="gradient", prior="non-negative"),
    ],
    "criterion": [
        AmortizedStage(epochs=1, until="criterion"),
        DirectStage(epochs=1, low_pass_start=30, low_pass_end=10),
    ],
    "hypotheses": [
        COARSE,
        DirectStage(epochs=1, hypotheses=2, pose_steps=2),
    ],
    "halves": [
        DirectStage(epochs=2, volume_update="closed form", pose_steps=2, hypotheses=2),
    ],
    "closed form": [
        DirectStage(epochs=2, until="criterion", volume_update="closed form", pose_steps=2),
    ],
}


def finished(settings: Settings, folder: Path, device: str) -> events.Finished:
    settings.device = device
    return ended(Reconstruction(settings, folder))


def ended(run: Reconstruction) -> events.Finished:
    *_, last = run.run()
    assert isinstance(last, events.Finished), last.details
    return last


def final_map(folder: Path) -> np.ndarray:
    with mrcfile.open(folder / "map.mrc") as file:
        return np.array(file.data)


def assert_same(found: Path, expected: Path, device: torch.device) -> None:
    """Assert that two runs came to the same: to the number, or on a GPU to the map."""
    maps = final_map(found), final_map(expected)
    if device.type == "cuda":
        # its random numbers are others, and its encoder computes in bfloat16
        stages = RunFolder(expected).settings().stages
        exact = not any("importance" in str(stage) or encodes([stage]) for stage in stages)
        correlation = np.corrcoef(*(volume.ravel() for volume in maps))[0, 1]
        assert correlation > (0.99 if exact else 0.7)
        return
    assert np.array_equal(*maps)
    epochs = recorded_epochs(RunFolder(expected))
    assert recorded_epochs(RunFolder(found)) == epochs
    poses = [read_poses(RunFolder(folder), epochs[-1]) for folder in (found, expected)]
    for name in ("rotations", "shifts", "losses", "candidates", "winner"):
        assert np.array_equal(*(getattr(one, name) for one in poses), equal_nan=True), name
    verdicts = [RunFolder(folder).verdict() for folder in (found, expected)]
    assert verdicts[0] == verdicts[1]


def case(simulated: Path, name: str, shifts: bool) -> Settings:
    """Settings of a preset, or of stages: with shifts also without scales and held-out ones."""
    settings = small(simulated, name if name in PRESETS else "default")
    settings.model.shifts = shifts
    if name in STAGES:
        settings.stages = [stage.model_copy() for stage in STAGES[name]]
        settings.model.scales, settings.held_out = not shifts, 0.05 * (not shifts)
        settings.starts = 1 + (name == "criterion")
    settings.model.halves = True if name == "halves" else None
    return settings


# small as they are here, two presets are others again
ALIKE = {"cryospin", "paper-experimental"}
CASES = [
    *((name, False) for name in PRESETS if name not in ALIKE),
    ("default", True),
    ("paper-experimental", True),
    *((name, shifts) for name in STAGES for shifts in (False, True)),
]


@pytest.mark.parametrize(("name", "shifts"), CASES)
def test_a_run_on_a_device_is_that_of_the_cpu(
    simulated: Path, tmp_path: Path, second_device: SecondDevice, name: str, shifts: bool
) -> None:
    settings = case(simulated, name, shifts)
    finished(settings, tmp_path / "cpu", "cpu")
    with second_device() as device:
        finished(settings, tmp_path / "device", str(device))
    assert_same(tmp_path / "device", tmp_path / "cpu", device)


def one_of_each(simulated: Path) -> Settings:
    settings = case(simulated, "default", shifts=True)
    settings.starts = 1
    settings.stages = [
        AmortizedStage(epochs=1, batch_size=20),
        MarginalStage(nside=4, epochs=1, until="epochs", quadrature="importance", batch_size=20),
        DirectStage(epochs=1, batch_size=20, hypotheses=2, volume_update="closed form"),
    ]
    return settings


@pytest.fixture(scope="module")
def whole_run(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of all three inferences on the CPU."""
    folder = tmp_path_factory.mktemp("whole")
    # as on the pretended device
    with with_torch_alone():
        finished(one_of_each(simulated), folder / "run", "cpu")
    return folder / "run"


@pytest.mark.parametrize(
    ("batch", "first_on_device"), [(2, True), (2, False), (5, True), (5, False), (8, False)]
)
def test_a_run_goes_on_on_another_device(
    simulated: Path,
    tmp_path: Path,
    whole_run: Path,
    second_device: SecondDevice,
    batch: int,
    first_on_device: bool,
) -> None:
    settings = one_of_each(simulated)
    with second_device() as device:
        places = ("cpu", str(device))
        settings.device = places[first_on_device]
        run, seen = Reconstruction(settings, tmp_path / "run"), 0
        for event in run.run():
            seen += isinstance(event, events.BatchDone)
            if seen == batch:
                run.controls.stop()
        assert seen == batch
        run = Reconstruction.resume(tmp_path / "run")
        run.settings.device = places[not first_on_device]
        ended(run)
    assert_same(tmp_path / "run", whole_run, device)


def test_a_finished_run_is_read_where_there_is_no_such_device(
    simulated: Path, tmp_path: Path, second_device: SecondDevice
) -> None:
    with second_device() as device:
        finished(case(simulated, "paper-synthetic", False), tmp_path, str(device))
    snapshot = read_snapshot(RunFolder(tmp_path))
    assert snapshot.particles.device.type == "cpu"
    # what is recorded of an epoch is rounded
    recorded = read_poses(RunFolder(tmp_path), 1).rotations
    assert np.allclose(snapshot.poses.rotations, recorded, atol=1e-3)


def test_particles_can_be_chosen_in_a_run_on_a_device(
    simulated: Path, tmp_path: Path, second_device: SecondDevice
) -> None:
    settings = case(simulated, "default", shifts=False)

    def run_on(place: str, folder: Path) -> None:
        settings.device = place
        run = Reconstruction(settings, folder)
        for event in run.run():
            if isinstance(event, events.Switched):
                run.controls.set_used(np.arange(60) % 4 > 0)
        assert isinstance(event, events.Finished), event

    run_on("cpu", tmp_path / "cpu")
    with second_device() as device:
        run_on(str(device), tmp_path / "device")
    assert_same(tmp_path / "device", tmp_path / "cpu", device)


@pytest.mark.parametrize("extent", [0.0, 1.0])
def test_the_explorer_on_a_device_shows_what_it_shows_on_the_cpu(
    particles: Particles, true_map: Tensor, second_device: SecondDevice, extent: float
) -> None:
    options = PosteriorOptions(nside=2, depth=4, shift_extent=extent)
    truth = random_rotations(particles.n, np.random.default_rng(0))

    def explored(particles: Particles) -> tuple[Any, Any, Any]:
        posteriors = ParticlePosteriors(particles, options)
        shifts = np.zeros((particles.n, 2))
        posteriors.set_volume(true_map.numpy(), shifts)
        rows = np.arange(0, particles.n, 70)
        summary = summarise(posteriors, rows, shifts)
        levels = credible_levels(posteriors, rows[:2], shifts, truth)
        return posteriors.particle(3, (0.2, 0.1), truth[:2]), summary, levels

    expected = explored(particles)
    with second_device() as device:
        found = explored(particles.to(device))
    tolerance = 0.05 if device.type == "cuda" else 1e-3
    for name in ("probability", "mode_weights", "projection", "candidate_projections", "image"):
        pair = getattr(found[0], name), getattr(expected[0], name)
        assert np.allclose(*pair, atol=tolerance), name
    assert np.allclose(found[1].entropy, expected[1].entropy, atol=10 * tolerance)
    assert np.allclose(found[2], expected[2], atol=10 * tolerance)


def test_an_epoch_can_be_surveyed_on_a_device(
    simulated: Path, tmp_path: Path, second_device: SecondDevice
) -> None:
    finished(case(simulated, "paper-synthetic", False), tmp_path, "cpu")
    folder = RunFolder(tmp_path)
    snapshot = read_snapshot(folder)
    options = PosteriorOptions(nside=2)

    def surveyed(particles: Particles) -> EpochSurvey:
        return survey_epoch(folder, 0, particles, snapshot.truth, options=options, probes=10)

    expected = surveyed(snapshot.particles)
    with second_device() as device:
        found = surveyed(snapshot.particles.to(device))
    assert found.entropy == pytest.approx(expected.entropy, abs=0.5)
    assert found.multimodal == pytest.approx(expected.multimodal, abs=0.2)
    if device.type != "cuda":
        assert found == expected


def test_code_that_mixes_devices_ends_a_run(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_device: SecondDevice
) -> None:
    """These tests can fail: with one table left on the CPU, they do."""
    empty = PoseTable.empty.__func__
    monkeypatch.setattr(
        PoseTable, "empty", classmethod(lambda cls, n, heads, _: empty(cls, n, heads, "cpu"))
    )
    settings = case(simulated, "hypotheses", shifts=False)
    with second_device() as device:
        settings.device = str(device)
        *_, last = Reconstruction(settings, tmp_path / "run").run()
    assert isinstance(last, events.Failed)
    assert "device" in last.details


MIXED: dict[str, Callable[[Tensor, Tensor, torch.device], object]] = {
    "sum": lambda own, cpu, _: own + cpu,
    "product": lambda own, cpu, _: own @ cpu,
    "two numbers of the CPU": lambda own, cpu, _: torch.addcmul(own, cpu[0], cpu[1]),
    "in place": lambda own, cpu, _: own.add_(cpu),
    "in place on the CPU": lambda own, cpu, _: cpu[0].add_(own.sum()),
    "joined": lambda own, cpu, _: torch.cat((own, cpu)),
    "stacked": lambda own, cpu, _: torch.stack((own[0], cpu[0])),
    "compared": lambda own, cpu, _: torch.equal(own, cpu),
    "gathered": lambda own, cpu, _: own.gather(0, cpu.long()),
    "indexed by the device's": lambda own, cpu, _: cpu[own.long()],
    "assigned": lambda own, cpu, _: own.__setitem__(own.long(), cpu),
    "array": lambda own, _cpu, _: own.numpy(),
    "numpy": lambda own, _cpu, _: np.asarray(own),
    "the CPU's generator": lambda own, _cpu, place: torch.rand(
        3, device=place, generator=torch.Generator()
    ),
    "the device's generator": lambda own, _cpu, place: torch.randperm(
        3, generator=torch.Generator(place)
    ),
}
ALLOWED: dict[str, Callable[[Tensor, Tensor, torch.device], Tensor]] = {
    "a number": lambda own, _cpu, _: own * 2,
    "a CPU tensor without dimensions": lambda own, cpu, _: own * cpu[2],
    "indices of the CPU": lambda own, cpu, _: own[cpu.long()],
    "a mask of the CPU": lambda own, cpu, _: own[cpu > 0],
    "a filled row": lambda own, cpu, _: own.index_put((cpu.long(),), cpu[1]),
    "copied from the CPU": lambda own, cpu, _: own.clone().copy_(cpu),
    "moved": lambda _own, cpu, place: cpu.to(place),
    "made": lambda _own, _cpu, place: torch.tensor([1.0, 2.0], device=place),
    "drawn": lambda _own, _cpu, place: torch.rand(
        3, device=place, generator=torch.Generator(place).manual_seed(1)
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_devices_cannot_be_mixed(second_device: SecondDevice, name: str) -> None:
    with second_device() as device:
        cpu = torch.arange(3.0)
        with pytest.raises((RuntimeError, TypeError)):
            MIXED[name](cpu.to(device), cpu, device)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_a_gpu_allows_is_allowed(second_device: SecondDevice, name: str) -> None:
    with second_device() as device:
        cpu = torch.arange(3.0)
        result = ALLOWED[name](cpu.to(device), cpu, device)
        assert result.device.type == device.type
        assert np.isfinite(result.cpu().numpy()).all()
        assert len(result.tolist()) == len(result)
        assert isinstance(result.sum().item(), float)
