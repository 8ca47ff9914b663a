from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from napari_cryospin.cli.app import app
from napari_cryospin.cli.report import write_heatmap
from napari_cryospin.engine.inference.options import PosteriorOptions
from napari_cryospin.engine.inference.posterior import ParticlePosterior
from napari_cryospin.engine.inference.refinement import Cells
from napari_cryospin.engine.run.command import command_line
from napari_cryospin.engine.run.demo import demo_settings
from napari_cryospin.engine.run.folder import RunFolder
from napari_cryospin.engine.settings import PRESETS, Settings

if TYPE_CHECKING:
    from napari_cryospin.engine.run.reconstruction import Reconstruction

EPOCHS = ["--epochs-encode", "1", "--epochs-marginal", "1", "--epochs-decode", "1"]
SMALL = ["--preset", "quick", *EPOCHS, "--threads", "1"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def is_one_sentence(result: Result) -> bool:
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return len(lines) == 1 and "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def told(small_stack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of a run, and what the command that made it printed."""
    out = tmp_path_factory.mktemp("cli") / "run"
    result = call("reconstruct", small_stack / "particles.star", "--out", out, *SMALL)
    assert result.exit_code == 0, result.output
    return out, result.output


@pytest.fixture(scope="module")
def run(told: tuple[Path, str]) -> Path:
    return told[0]


def test_reconstruct_leaves_a_run(run: Path) -> None:
    for name in ("map.mrc", "half1.mrc", "particles.star", "metrics.csv", "settings.toml"):
        assert (run / name).is_file()
    settings = RunFolder(run).settings()
    assert (settings.get("amortized.epochs"), settings.get("direct.epochs")) == (1, 1)


def test_reconstruct_prints_a_line_an_epoch(told: tuple[Path, str]) -> None:
    lines = [line for line in told[1].splitlines() if line.startswith("epoch")]
    stages = ["auto-encoding", "marginalisation", "marginalisation", "auto-decoding"]
    assert len(lines) == len(stages)
    assert all(stage in line for stage, line in zip(stages, lines, strict=True))
    assert "Verdict: " in told[1]


def test_evaluate(run: Path, small_stack: Path) -> None:
    truth = ["--truth-star", small_stack / "truth.star", "--truth-map", small_stack / "truth.mrc"]
    figures = json.loads(call("evaluate", run, *truth, "--json").stdout)
    assert set(figures) >= {
        "median_pose_error_deg",
        "mean_pose_error_deg",
        "resolution_angstrom",
        "fsc_0.5_fraction_of_nyquist",
        "hand",
    }
    assert 0 < figures["median_pose_error_deg"] <= 180
    assert "median_pose_error_deg" in call("evaluate", run, *truth).stdout


def test_posterior(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    png = tmp_path / "heatmap.png"
    result = call("posterior", run, "--particle", 3, "--nside", 4, "--json", "--png", png)
    summary = json.loads(result.stdout)
    assert summary["particle"] == 3
    assert summary["entropy_nats"] >= 0
    assert sum(mode["weight"] for mode in summary["modes"]) == pytest.approx(1)
    assert summary["modes"][0]["distance_to_first_deg"] == 0
    words = call("posterior", run, "--particle", 3, "--epoch", 1, "--low-pass", 40)
    assert "mode A: weight" in words.stdout
    with Image.open(png) as image:
        assert image.width == 1200
        assert len(image.convert("RGB").getcolors(1 << 20)) > 2


def test_survey(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "survey.csv"
    result = call("survey", run, "--probes", 20, "--csv", table, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [row["epoch"] for row in figures] == list(range(len(figures)))
    assert len(table.read_text().splitlines()) == 1 + len(figures)
    # in words, of a run of one epoch
    short = shutil.copytree(run, tmp_path / "short")
    for path in short.glob("poses/epoch_*[1-9].npy"):
        path.unlink()
    assert "auto-encoding" in call("survey", short, "--probes", 20).stdout


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--nside", 5], "power of two"),
        (["--low-pass", 1e6], "leaves nothing"),
        (["--epoch", 99], "epoch_0098"),
        (["--depth", 4096], "power of two"),
    ],
)
def test_a_posterior_that_cannot_be_is_told(run: Path, options: list[object], word: str) -> None:
    refused = call("posterior", run, "--particle", 0, *options)
    assert refused.exit_code == 2
    assert word in refused.output


def test_resume_goes_on(run: Path, small_stack: Path) -> None:
    assert call("reconstruct", "--out", run, "--resume").exit_code == 0
    stack = small_stack / "particles.star"
    assert call("reconstruct", stack, "--out", run, "--resume").exit_code == 0


def test_the_command_of_a_run_resumes_it_too(run: Path, small_stack: Path, tmp_path: Path) -> None:
    stack = small_stack / "particles.star"
    result = call("reconstruct", stack, "--out", run, *SMALL, "--resume")
    assert result.exit_code == 0, result.output
    assert "finished already" in result.stderr
    assert call("reconstruct", "--out", run, "--heads", 4, "--resume").exit_code == 0
    # moved, and on another machine
    moved = tmp_path / "moved"
    shutil.copytree(small_stack, moved)
    line = [moved / "particles.star", "--out", run, "--threads", 1, "--device", "cpu", "--resume"]
    assert call("reconstruct", *line).exit_code == 0
    assert RunFolder(run).settings().data.stack == moved / "particles.star"
    assert call("reconstruct", stack, "--out", run, "--resume").exit_code == 0


def test_resume_of_other_particles_is_refused(run: Path, tmp_path: Path) -> None:
    refused = call("reconstruct", tmp_path / "other.star", "--out", run, "--resume")
    assert refused.exit_code == 2
    assert is_one_sentence(refused)


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_run_that_was_killed_early_is_begun_again(
    run: Path, small_stack: Path, tmp_path: Path, options: list[str]
) -> None:
    line = ["reconstruct", small_stack / "particles.star", "--out", tmp_path / "r", *SMALL]
    # killed before it had made its folder, and in its first epoch
    if options:
        (tmp_path / "r").mkdir()
    else:
        shutil.copytree(run, tmp_path / "r")
        for name in (tmp_path / "r").iterdir():
            if name.name not in ("settings.toml", "fingerprint.json", "events.jsonl", "volumes"):
                shutil.rmtree(name) if name.is_dir() else name.unlink()
    result = call(*line, *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "r" / "map.mrc").is_file()


def test_nothing_of_a_users_is_replaced(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(small_stack, own)
    monkeypatch.chdir(own)
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    for line in (
        ["reconstruct", "particles.star", "--out", "."],
        ["reconstruct", "particles.star", "--out", own],
        ["reconstruct", "particles.mrcs", "--out", "."],
        ["reconstruct", "particles.star", "--out", "", *SMALL],
        ["simulate", "truth.mrc", "--out", ".", "--box", 32, "--n-particles", 3],
        ["simulate", "truth.mrc", "--out", "", "--box", 32, "--n-particles", 3],
        ["demo", "--headless", "--out", ""],
        ["demo", "--headless", "--out", "."],
    ):
        refused = call(*line)
        assert refused.exit_code == 2, line
        assert is_one_sentence(refused)
        assert {path.name: path.read_bytes() for path in own.iterdir()} == before


def test_an_empty_folder_name_is_not_the_present_folder(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in (
        ["reconstruct", small_stack / "particles.star", "--out", ""],
        ["simulate", small_stack / "truth.mrc", "--out", "", "--box", 32],
        ["demo", "--headless", "--out", ""],
    ):
        refused = call(*line)
        assert refused.exit_code == 2
        assert "was named: give one with --out" in refused.stderr
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [["--heads", "3"], ["--preset", "quick"], ["--settings", "s.toml"]],
)
def test_resume_keeps_the_runs_settings(run: Path, arguments: list[str]) -> None:
    refused = call("reconstruct", *arguments, "--out", run, "--resume")
    assert refused.exit_code == 2
    assert is_one_sentence(refused)
    assert "leave the" in refused.stderr


def test_a_failure_that_is_not_the_inputs_is_code_1(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise ArithmeticError("something odd")

    monkeypatch.setattr(RunFolder, "write_checkpoint", odd)
    result = call("reconstruct", small_stack / "particles.star", "--out", tmp_path / "r", *SMALL)
    assert result.exit_code == 1
    assert is_one_sentence(result)
    assert "something odd" in result.stderr
    assert "events.jsonl" in result.stderr


def test_a_run_starts_from_a_settings_file(run: Path, small_stack: Path, tmp_path: Path) -> None:
    line = ["--settings", run / "settings.toml", "--heads", 2, "--out", tmp_path / "r"]
    result = call("reconstruct", small_stack / "particles.star", *line)
    assert result.exit_code == 0, result.output
    settings = RunFolder(tmp_path / "r").settings()
    assert (settings.model.heads, settings.get("amortized.epochs")) == (2, 1)


def test_a_heatmap_is_the_docks_map(tmp_path: Path) -> None:
    import healpy
    from PIL import Image

    from napari_cryospin.gui.views.mollweide import project

    # two directions, at rot 60°, tilt 50° and, less probable, elsewhere
    probability = np.full(healpy.nside2npix(8), 1e-12)
    probability[healpy.ang2pix(8, np.radians(50), np.radians(60))] = 1
    nested = healpy.reorder(probability, r2n=True)
    flat = np.zeros((2, 2), dtype=np.float32)
    fine = Cells(8, np.zeros(1, np.int64), np.zeros((1, 2)), 0.0, np.zeros((1, 1)))
    found = ParticlePosterior(
        particle=0,
        options=PosteriorOptions(),
        probability=np.repeat(nested[:, None] / 48, 48, axis=1).astype(np.float32),
        fine=fine,
        modes=np.eye(3)[None],
        mode_weights=np.ones(1),
        image=flat,
        projection=flat,
        difference=flat,
        candidate_projections=flat[None],
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
        small.stages[0].epochs = small.stages[-1].epochs = 1
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
        ("never", 7, "hand"),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconstruct", "absent.star", "--out", "r"],
        ["reconstruct", "absent.star"],
        ["reconstruct", "--out", "r"],
        ["reconstruct", "absent.star", "--out", "r", "--preset", "fast"],
        ["reconstruct", "absent.star", "--out", "r", "--heads", "0"],
        ["reconstruct", "absent.star", "--out", "r", "--switch-at", "soon"],
        ["reconstruct", "absent.star", "--out", "r", "--switch-at", "3"],
        ["reconstruct", "absent.star", "--out", "r", "--heads", "3"],
        ["reconstruct", "absent.star", "--out", "r", "--seed", "99999999999"],
        ["reconstruct", "--out", "r", "--resume"],
        ["evaluate", "r", "--truth-star", "t.star", "--truth-map", "t.mrc"],
        ["posterior", "r", "--particle", "0"],
        ["simulate", "absent.pdb", "--out", "s"],
        ["simulate", "absent.pdb", "--out", "s", "--box", "33"],
        ["simulate", "TRUTH", "--out", "s", "--box", "32", "--pixel-size", "0"],
        ["simulate", "TRUTH", "--out", "s", "--box", "32", "--pixel-size", "1e-9"],
        ["simulate", "TRUTH", "--out", "s", "--box", "32", "--snr", "nan"],
        ["simulate", "TRUTH", "--out", "file", "--box", "32"],
        ["reconstruct", "absent.star", "--out", "r", "--preset", "default", "--settings", "s.toml"],
        ["demo", "--headless", "--out", "."],
        ["demo", "--headless", "--out", "file"],
        ["reconstruct", "TRUTH", "--out", "r", "--switch-at", "²"],
        ["reconstruct", "TRUTH", "--out", "r", "--truth-map", "TRUTH"],
    ],
)
def test_bad_input_is_one_sentence_and_code_2(
    arguments: list[str], small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    truth = small_stack / "truth.mrc"
    result = call(*(truth if word == "TRUTH" else word for word in arguments))
    assert result.exit_code == 2
    assert is_one_sentence(result)


def test_an_existing_run_is_kept(run: Path, small_stack: Path) -> None:
    before = (run / "map.mrc").read_bytes()
    result = call("reconstruct", small_stack / "particles.star", "--out", run, *SMALL)
    assert result.exit_code == 2
    assert "resume" in result.stderr
    assert (run / "map.mrc").read_bytes() == before


@pytest.mark.parametrize("particle", [200, 10_000])
def test_a_particle_that_does_not_exist(run: Path, particle: int) -> None:
    result = call("posterior", run, "--particle", particle)
    assert result.exit_code == 2
    assert "0 to 199" in result.stderr


def test_a_run_can_be_repeated_from_its_command_line(run: Path, small_stack: Path) -> None:
    settings = RunFolder(run).settings()
    line = shlex.split(command_line(settings, run))
    assert line[:2] == ["napari-cryospin", "reconstruct"]
    result = call(*line[1:])
    assert result.exit_code == 0, result.output
    again = run.with_name("run-again")
    assert RunFolder(again).settings() == settings
    assert (again / "map.mrc").read_bytes()[1024:] == (run / "map.mrc").read_bytes()[1024:]


GIVEN = {
    "--datadir": "images",
    "--voltage": "200",
    "--cs": "1.4",
    "--amplitude-contrast": "0.07",
    "--pixel-size": "4",
}


def test_what_a_table_lacks_can_be_given_and_is_repeated(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Settings] = []

    def reconstruction(settings: Settings, _: Path) -> None:
        made.append(settings)

    monkeypatch.setattr("napari_cryospin.engine.run.reconstruction.Reconstruction", reconstruction)
    monkeypatch.setattr("napari_cryospin.cli.run.follow", lambda _: 0)
    options = [word for pair in GIVEN.items() for word in pair]
    star = small_stack / "particles.star"
    result = call("reconstruct", star, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    data = made[0].data
    assert (data.voltage, data.spherical_aberration, data.amplitude_contrast) == (200, 1.4, 0.07)
    assert (data.pixel_size, data.datadir) == (4, Path("images").absolute())
    line = shlex.split(command_line(made[0], tmp_path / "run"))
    assert line[line.index("--cs") + 1] == "1.4"
    assert call(*line[1:]).exit_code == 0
    assert made[1] == made[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--voltage", "0"), ("--cs", "-1"), ("--amplitude-contrast", "2"), ("--pixel-size", "nan")],
)
def test_values_that_no_microscope_has_are_refused(
    small_stack: Path, tmp_path: Path, option: str, value: str
) -> None:
    star = small_stack / "particles.star"
    result = call("reconstruct", star, "--out", tmp_path / "run", option, value)
    assert result.exit_code == 2
    assert is_one_sentence(result)


def test_a_folder_of_images_that_is_not_there_is_told(small_stack: Path, tmp_path: Path) -> None:
    star = small_stack / "particles.star"
    result = call("reconstruct", star, "--out", tmp_path / "r", "--datadir", tmp_path / "none")
    assert result.exit_code == 2
    assert is_one_sentence(result)
    assert "--datadir" in result.stderr


def test_one_particle_is_too_few(small_stack: Path, tmp_path: Path) -> None:
    star = small_stack / "particles.star"
    result = call("reconstruct", star, "--out", tmp_path / "run", "--max-particles", 1)
    assert result.exit_code == 2
    assert is_one_sentence(result)
    assert "at least 2" in result.stderr


def test_settings_without_an_option_are_named_by_their_file(tmp_path: Path) -> None:
    settings = Settings.from_preset("default")
    settings.set("direct.pose_steps", 9)
    assert "--settings" in command_line(settings, tmp_path / "run")


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


def test_without_a_display_the_window_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cryospin.cli.app.has_display", lambda: False)
    result = call()
    assert result.exit_code == 2
    assert "no display" in result.stderr
