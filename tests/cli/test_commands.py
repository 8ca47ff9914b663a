"""What each command does where all is well."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from command_calls import call
from napari_cryospin.cli import main
from napari_cryospin.engine.geometry.healpix import pixels_of_angles
from napari_cryospin.engine.geometry.sphere import healpix_library
from napari_cryospin.engine.posterior.of_particles import ParticlePosterior
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.refinement import Cells
from napari_cryospin.engine.run.demo import demo_settings
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import PRESETS

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.run.reconstruction import Reconstruction
    from napari_cryospin.engine.settings import Settings


def test_reconstruct_leaves_a_run(command_run: Path) -> None:
    for name in ("map.mrc", "half1.mrc", "particles.star", "metrics.csv", "settings.toml"):
        assert (command_run / name).is_file()
    settings = RunFolder(command_run).settings()
    assert (settings.get("amortized.epochs"), settings.get("direct.epochs")) == (1, 1)


def test_reconstruct_prints_a_line_an_epoch(command_story: tuple[Path, str]) -> None:
    lines = [line for line in command_story[1].splitlines() if line.startswith("epoch")]
    stages = ["auto-encoding", "auto-decoding"]
    assert len(lines) == len(stages)
    assert all(stage in line for stage, line in zip(stages, lines, strict=True))
    assert "Verdict: " in command_story[1]


def test_evaluate(command_run: Path, small_stack: Path) -> None:
    truth = ["--truth-star", small_stack / "truth.star", "--truth-map", small_stack / "truth.mrc"]
    figures = json.loads(call("evaluate", command_run, *truth, "--json").stdout)
    assert set(figures) >= {
        "median_pose_error_deg",
        "mean_pose_error_deg",
        "resolution_angstrom",
        "fsc_0.5_fraction_of_nyquist",
        "hand",
    }
    assert 0 < figures["median_pose_error_deg"] <= 180
    assert "median_pose_error_deg" in call("evaluate", command_run, *truth).stdout


def test_posterior(command_run: Path, tmp_path: Path) -> None:
    from PIL import Image

    png = tmp_path / "heatmap.png"
    result = call("posterior", command_run, "--particle", 3, "--nside", 4, "--json", "--png", png)
    summary = json.loads(result.stdout)
    assert summary["particle"] == 3
    assert summary["entropy_nats"] >= 0
    assert sum(mode["weight"] for mode in summary["modes"]) == pytest.approx(1)
    assert summary["modes"][0]["distance_to_first_deg"] == 0
    _assert_is_the_picture(summary)
    words = call("posterior", command_run, "--particle", 3, "--epoch", 1, "--low-pass", 40)
    assert re.search(r"\d+ modes? of at least 5%", words.stdout)
    assert "mode A: weight" in words.stdout
    with Image.open(png) as image:
        assert image.width == 1200
        assert len(image.convert("RGB").getcolors(1 << 20)) > 2


def _assert_is_the_picture(summary: dict[str, Any]) -> None:
    """A script draws the window's heatmap from what is printed, with healpy alone."""
    healpy = healpix_library()
    shares = np.array(summary["view_directions"])
    assert (summary["nside"], summary["ordering"]) == (4, "RING")
    assert shares.shape == (12 * 4**2,) and (shares >= 0).all()
    assert abs(shares.sum() - 1) < 1e-6
    # where the picture is brightest, a mode is near
    tilt, rot = np.degrees(healpy.pix2ang(4, int(shares.argmax())))
    brightest = healpy.ang2vec(np.radians(tilt), np.radians(rot))
    modes = [mode["rot_tilt_psi_deg"] for mode in summary["modes"]]
    views = [healpy.ang2vec(np.radians(tilt), np.radians(rot)) for rot, tilt, _ in modes]
    nearest = np.degrees(np.arccos(np.clip(np.array(views) @ brightest, -1, 1))).min()
    assert nearest < 1.5 * np.degrees(healpy.nside2resol(4))


def test_survey(command_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "survey.csv"
    result = call("survey", command_run, "--probes", 20, "--csv", table, "--json")
    assert result.exit_code == 0, result.output
    # what is not known is null: NaN is no JSON
    figures = json.loads(result.stdout, parse_constant=pytest.fail)
    assert any(row["pair_angle"] is None for row in figures)
    assert [row["epoch"] for row in figures] == list(range(len(figures)))
    assert len(table.read_text().splitlines()) == 1 + len(figures)
    # in words, of a run of one epoch
    short = shutil.copytree(command_run, tmp_path / "short")
    for path in short.glob("poses/epoch_*[1-9].npy"):
        path.unlink()
    assert "auto-encoding" in call("survey", short, "--probes", 20).stdout


def test_a_heatmap_is_the_docks_map(tmp_path: Path) -> None:
    from PIL import Image

    from napari_cryospin.gui.views.heatmap import write_heatmap
    from napari_cryospin.gui.views.mollweide import project

    # two directions, at rot 60°, tilt 50° and, less probable, elsewhere
    probability = np.full(12 * 8**2, 1e-12)
    probability[pixels_of_angles(np.radians([50]), np.radians([60]), 8)] = 1
    flat = np.zeros((2, 2), dtype=np.float32)
    fine = Cells(8, np.zeros(1, np.int64), np.zeros((1, 2)), 0.0, np.zeros((1, 1)))
    found = ParticlePosterior(
        particle=0,
        options=PosteriorOptions(),
        probability=np.repeat(probability[:, None] / 48, 48, axis=1).astype(np.float32),
        fine=fine,
        modes=np.eye(3)[None],
        mode_weights=np.ones(1),
        image=flat,
        projection=flat,
        difference=flat,
        candidate_projections=flat[None],
        stand_ins=None,
    )
    write_heatmap(found, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as image:
        shown = np.asarray(image.convert("RGB")).astype(float)
    # magma's top is a pale yellow, unlike its dark bottom and the white outside
    bright = (shown.sum(-1) > 500) & (shown[..., 2] < 230)
    row, column = np.argwhere(bright).mean(0)
    x, y = project(60.0, 50.0)
    assert column / shown.shape[1] * 4 - 2 == pytest.approx(float(x), abs=0.1)
    assert 1 - row / shown.shape[0] * 2 == pytest.approx(float(y), abs=0.1)


def test_simulate(tmp_path: Path, small_stack: Path) -> None:
    out = tmp_path / "stack"
    result = call(
        "simulate", small_stack / "truth.mrc", "--out", out, "--box", 32, "--n-particles", 9
    )
    assert result.exit_code == 0, result.output
    for name in ("particles.star", "particles.mrcs", "truth.star", "truth.mrc"):
        assert (out / name).is_file()


def test_atoms_need_no_pixel_size(tmp_path: Path) -> None:
    atom = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}   0.000   0.000  1.00  0.00           C\n"
    atoms = "".join(atom.format(i, 10.0 * i) for i in range(1, 12))
    (tmp_path / "rod.pdb").write_text(atoms + "END\n")
    options = ["--out", tmp_path / "s", "--box", 32, "--n-particles", 5]
    result = call("simulate", tmp_path / "rod.pdb", *options)
    assert result.exit_code == 0, result.output
    # a rod of 100 Å spans two thirds of 32 pixels
    assert "4.688 Å/px" in result.stdout


def test_the_demo_without_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(folder: Path, seed: int) -> Settings:
        small = demo_settings(folder, seed)
        for stage in small.stages:
            stage.epochs = 1
        return small

    monkeypatch.setattr("napari_cryospin.engine.run.demo.N_PARTICLES", 100)
    monkeypatch.setattr("napari_cryospin.cli.demo.demo_settings", settings)
    monkeypatch.setattr("napari_cryospin.cli.app.has_display", lambda: False)
    monkeypatch.chdir(tmp_path)
    result = call("demo", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "There is no display" in result.stdout
    assert "median_pose_error_deg" in result.stdout
    (folder,) = tmp_path.glob("demo-run-*")
    assert RunFolder(folder / "run").settings().seed == 3


@pytest.mark.parametrize(
    ("switch_at", "epochs", "until"),
    [
        ("5", 5, "epochs"),
        ("auto", 100, "criterion"),
        ("auto --epochs-encode 30", 30, "criterion"),
        ("never", 60, "hand"),
    ],
)
def test_when_to_switch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch_at: str, epochs: int, until: str
) -> None:
    runs: list[Reconstruction] = []
    monkeypatch.setattr("napari_cryospin.cli.run.follow", lambda run: runs.append(run) or 0)
    options = ["--preset", "cryospin", "--switch-at", *switch_at.split()]
    assert call("reconstruct", "p.star", "--out", tmp_path / "r", *options).exit_code == 0
    stage = runs[0].settings.stages[0]
    assert (stage.epochs, stage.until) == (epochs, until)


def test_presets_are_listed() -> None:
    lines = call("presets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)


def test_help_names_units_and_needs_no_torch() -> None:
    script = (
        "from napari_cryospin.cli import main; import sys; sys.argv[1:] = ['simulate', '--help']"
    )
    check = (
        "\ntry: main()\nfinally: assert 'torch' not in sys.modules and 'napari' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + check], capture_output=True, text=True, check=True
    )
    assert "Å per pixel" in done.stdout


def test_an_output_that_lacks_signs_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.setattr("sys.argv", ["napari-cryospin", "presets"])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert not ended.value.code
    assert "auto-encoding (7) ? auto-decoding (13)" in written.getvalue().decode("cp1252")
