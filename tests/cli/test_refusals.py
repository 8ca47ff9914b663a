"""What the command refuses: one sentence, an exit code, and nothing of a user's replaced."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

import napari_cryospin
from command_calls import SMALL, call, is_one_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--nside", 5], "power of two"),
        (["--low-pass", 1e6], "leaves nothing"),
        (["--epoch", 99], "was not recorded: it has 1 to"),
        (["--depth", 4096], "power of two"),
    ],
)
def test_a_posterior_that_cannot_be_is_told(
    command_run: Path, options: list[object], word: str
) -> None:
    refused = call("posterior", command_run, "--particle", 1, *options)
    assert refused.exit_code == 2
    assert word in refused.output


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


def test_a_failure_that_is_not_the_inputs_is_code_1(
    small_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: object) -> None:
        raise ArithmeticError("something odd")

    monkeypatch.setattr("napari_cryospin.engine.run.loop.write_checkpoint", odd)
    result = call("reconstruct", small_stack / "particles.star", "--out", tmp_path / "r", *SMALL)
    assert result.exit_code == 1
    assert is_one_sentence(result)
    assert "something odd" in result.stderr
    assert "events.jsonl" in result.stderr


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
        ["posterior", "r", "--particle", "1"],
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


@pytest.mark.parametrize("particle", [201, 10_000])
def test_a_particle_that_does_not_exist(command_run: Path, particle: int) -> None:
    result = call("posterior", command_run, "--particle", particle)
    assert result.exit_code == 2
    assert "1 to 200" in result.stderr


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


def test_without_a_display_the_window_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cryospin.cli.app.has_display", lambda: False)
    result = call()
    assert result.exit_code == 2
    assert "no display" in result.stderr


@pytest.fixture(params=[["pyqtgraph"], ["PyQt6", "PySide6"]])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the window does not find, though there is a display: in words."""
    monkeypatch.setattr("napari_cryospin.cli.app.has_display", lambda: True)
    imported = _taken_out()
    for name in request.param:
        monkeypatch.setitem(sys.modules, name, None)
    yield " or ".join(request.param)
    _taken_out()
    sys.modules.update(imported)
    if "napari_cryospin.gui" in imported:
        napari_cryospin.gui = imported["napari_cryospin.gui"]


def _taken_out() -> dict[str, ModuleType]:
    """Modules of the window, which Python then knows no longer."""
    names = [name for name in sys.modules if name.startswith("napari_cryospin.gui")]
    return {name: sys.modules.pop(name) for name in names}


def test_where_the_window_lacks_a_package_it_says_what_to_install(missing: str) -> None:
    result = call()
    assert result.exit_code == 2
    assert is_one_sentence(result)
    assert f"need {missing}, which" in result.stderr or f"needs {missing}, which" in result.stderr
    assert 'pip install "napari-cryospin[all]"' in result.stderr


def test_where_the_window_lacks_a_package_the_demo_runs_in_the_terminal(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cryospin.cli.demo.run_demo", lambda folder, seed: seed)
    result = call("demo", "--seed", 7, "--out", tmp_path)
    assert result.exit_code == 7
    assert f"{missing}, which is not installed" in result.stdout
    assert "in the terminal" in result.stdout
