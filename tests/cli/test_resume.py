"""Runs that are resumed, begun again, or repeated from their settings and their command line."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from command_calls import SMALL, call, is_one_sentence
from napari_cryospin.engine.run.command import command_line
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings


@pytest.fixture
def run(command_run: Path, tmp_path: Path) -> Path:
    """Copy of the command's run: a resume changes it."""
    return shutil.copytree(command_run, tmp_path / "run")


def test_resume_goes_on(run: Path, small_stack: Path) -> None:
    assert call("reconstruct", "--out", run, "--resume").exit_code == 0
    stack = small_stack / "particles.star"
    assert call("reconstruct", stack, "--out", run, "--resume").exit_code == 0


def test_the_command_of_a_run_resumes_it_too(run: Path, small_stack: Path, tmp_path: Path) -> None:
    stack = small_stack / "particles.star"
    result = call("reconstruct", stack, "--out", run, *SMALL, "--resume")
    assert result.exit_code == 0, result.output
    assert "finished already" in result.stderr
    assert call("reconstruct", "--out", run, "--heads", 8, "--resume").exit_code == 0
    # moved, and on another machine
    moved = tmp_path / "moved"
    shutil.copytree(small_stack, moved)
    line = [moved / "particles.star", "--out", run, "--threads", 1, "--device", "cpu", "--resume"]
    assert call("reconstruct", *line).exit_code == 0
    assert RunFolder(run).settings().data.stack == moved / "particles.star"
    assert call("reconstruct", stack, "--out", run, "--resume").exit_code == 0


def test_the_working_images_of_a_resumed_run_may_live_elsewhere(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_CRYOSPIN_CACHE", str(tmp_path / "cache"))
    settings = RunFolder(run).settings()
    settings.stages[-1].epochs += 1
    RunFolder(run).write_settings(settings)
    result = call("reconstruct", "--out", run, "--particles-in", "disk", "--resume")
    assert result.exit_code == 0, result.output
    assert RunFolder(run).settings().data.particles_in == "disk"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_resume_of_other_particles_is_refused(run: Path, tmp_path: Path) -> None:
    refused = call("reconstruct", tmp_path / "other.star", "--out", run, "--resume")
    assert refused.exit_code == 2
    assert is_one_sentence(refused)


@pytest.mark.parametrize(
    "arguments",
    [["--heads", "3"], ["--preset", "quick"], ["--settings", "s.toml"]],
)
def test_resume_keeps_the_runs_settings(run: Path, arguments: list[str]) -> None:
    refused = call("reconstruct", *arguments, "--out", run, "--resume")
    assert refused.exit_code == 2
    assert is_one_sentence(refused)
    assert "leave the" in refused.stderr


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


def test_an_existing_run_is_kept(run: Path, small_stack: Path) -> None:
    before = (run / "map.mrc").read_bytes()
    result = call("reconstruct", small_stack / "particles.star", "--out", run, *SMALL)
    assert result.exit_code == 2
    assert "resume" in result.stderr
    assert (run / "map.mrc").read_bytes() == before


def test_a_run_starts_from_a_settings_file(run: Path, small_stack: Path, tmp_path: Path) -> None:
    line = ["--settings", run / "settings.toml", "--heads", 2, "--out", tmp_path / "r"]
    result = call("reconstruct", small_stack / "particles.star", *line)
    assert result.exit_code == 0, result.output
    settings = RunFolder(tmp_path / "r").settings()
    assert (settings.model.heads, settings.get("amortized.epochs")) == (2, 1)


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


def test_settings_without_an_option_are_named_by_their_file(tmp_path: Path) -> None:
    settings = Settings.from_preset("default")
    settings.set("direct.pose_steps", 9)
    assert "--settings" in command_line(settings, tmp_path / "run")
