"""Every example runs, as a user starts it, on the small data that tests share."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.api import RunFolder, read_map
from napari_cryospin.engine.evaluation import alignment
from napari_cryospin.engine.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGE = EXAMPLES.parent / "docs" / "scripts.md"
LONGEST = 60
# as quick as a preset may be: 3 epochs
STAGES = [
    {"inference": "marginal", "epochs": 1, "nside": 2, "until": "epochs"},
    {"inference": "direct", "epochs": 2, "pose_steps": 1},
]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_searches: None
) -> Callable[..., str]:
    """Runs an example with arguments, and returns what it prints."""
    quick = {"starts": 1, "data": {"box": 32}, "stages": STAGES}
    monkeypatch.setitem(PRESETS, "quick", quick)
    monkeypatch.setattr(alignment, "_REFINEMENT_BOX", 16)

    def start(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return start


def figures(pattern: str, text: str) -> list[float]:
    """Return the numbers that a pattern finds in a text."""
    return [float(found) for found in re.findall(pattern, text)]


def test_a_stack_is_reconstructed(run: Callable[..., str], tiny_stack: Path, tmp_path: Path):
    told = run("reconstruct.py", tiny_stack / "particles.star", tmp_path / "run")
    assert told.startswith("40 particles of 32 px on CPU")
    assert figures(r"Epoch (\d+), [-\w]+: loss \d", told) == [1, 2, 3]
    assert "Stage 2, auto-decoding, begins by schedule" in told
    verdict = RunFolder(tmp_path / "run").verdict()
    assert verdict is not None
    assert f"Verdict: {verdict.outcome}." in told


def test_what_cannot_be_used_ends_an_example_in_a_sentence(run: Callable[..., str], tmp_path: Path):
    with pytest.raises(SystemExit, match=r"There is no file .*missing\.star"):
        run("reconstruct.py", tmp_path / "missing.star", tmp_path / "run")


def test_simulated_particles_are_compared_with_their_truth(
    run: Callable[..., str], tmp_path: Path, small_stack: Path
):
    told = run(
        "simulate_and_evaluate.py",
        *(tmp_path, "--source", small_stack / "truth.mrc", "--n-particles", 40),
    )
    # a tenth of the images is junk, and has no pose
    assert figures(r"(\d+) particles, median", told) == [36]
    assert 0 < figures(r"pose error (\S+)°", told)[0] < 180
    nyquist = 2 * read_map(small_stack / "truth.mrc")[1]
    assert figures(r"true map at (\S+) Å", told)[0] >= nyquist


def test_a_finished_run_is_read(run: Callable[..., str], finished_run: Path):
    told = run("read_run.py", finished_run)
    folder = RunFolder(finished_run)
    losses = [done.loss for done in folder.history()]
    assert figures(r"loss (\S+)", told) == pytest.approx(losses, abs=1e-4)
    moved = figures(r"moved by (\S+)°", told)
    assert len(moved) == len(losses) - 1
    assert all(0 < angle < 180 for angle in moved)
    nyquist = 2 * read_map(folder.map_path)[1]
    assert all(like >= nyquist for like in figures(r"final map to (\S+) Å", told))
    assert "frequency_per_angstrom" in told


def test_the_modes_of_a_particle_are_told(run: Callable[..., str], finished_run: Path):
    told = run("particle_posterior.py", finished_run, 12, "--nside", 2)
    weights = figures(r"weight (\S+),", told)
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=0.01)
    assert 0 <= figures(r"run lies (\S+)°", told)[0] <= 180


def test_a_run_is_steered(run: Callable[..., str], tiny_stack: Path, tmp_path: Path):
    # no epoch gains twice its loss: the second one of a stage is the last
    told = run("steer.py", tiny_stack / "particles.star", tmp_path / "run", "--gain", 2)
    assert figures(r"Epoch (\d+), auto-encoding", told) == [1, 2]
    assert "Stage 2, auto-decoding, begins by hand before the first batch of epoch 3" in told
    assert figures(r"Epoch (\d+), auto-decoding", told) == [4, 5]
    assert f"Stopped and kept in {tmp_path / 'run'}" in told
    commands = [one.command for one in RunFolder(tmp_path / "run").commands()]
    assert commands == ["switch", "stop"]


def test_epochs_are_trained_in_a_loop_of_ones_own(
    run: Callable[..., str], tiny_stack: Path, tmp_path: Path
):
    told = run("own_loop.py", tiny_stack / "particles.star", tmp_path)
    assert figures(r"Epoch (\d+): loss \d", told) == [1, 2, 3]
    assert "Stage 2: auto-decoding" in told
    first, _, last = (read_map(path)[0] for path in sorted(tmp_path.glob("epoch_*.mrc")))
    assert first.shape == (32, 32, 32)
    assert (first != last).any()


def test_examples_are_short_and_use_the_public_api_alone():
    examples = sorted(EXAMPLES.glob("*.py"))
    assert len(examples) >= 4
    tests = Path(__file__).read_text(encoding="utf-8")
    for path in examples:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert 10 <= len(lines) <= LONGEST, path
        assert not [line for line in lines if "napari_cryospin.engine" in line], path
        assert f'"{path.name}"' in tests, f"{path.name} is run by no test"


def test_the_page_of_scripts_shows_every_example():
    # as mkdocs reads it: another blank, such as a formatter sets, and it shows the line instead
    shown = re.findall(r'^--8<-- "examples/(\w+\.py)"$', PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(path.name for path in EXAMPLES.glob("*.py"))
