"""The verdict as a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome, Verdict, Warned, WarningKind

if TYPE_CHECKING:
    from pathlib import Path

FULL = Verdict(
    Outcome.UNEXPLAINED,
    ("One.", "Another."),
    gain=3.0,
    cause=Cause.SEVERAL_STRUCTURES,
    misfit=0.25,
    explained=0.8,
    shares=(0.7, 0.3),
    mates=4,
    symmetry="C4",
    symmetry_axis=(0.0, 0.6, 0.8),
    symmetry_frame=(0.0, 1.0, 0.0, -0.8, 0.0, 0.6, 0.6, 0.0, 0.8, 0.5, -0.25, 1.0),
    symmetry_correlation=0.97,
    symmetry_allowed=0.98,
    symmetry_gain=0.5,
    warnings=(Warned(WarningKind.CONTRAST, "inverted."),),
)


def test_a_verdict_comes_back_from_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_verdict(FULL)
    assert folder.verdict() == FULL
    written = json.loads(folder.verdict_path.read_text())
    assert written["cause"] == "several structures"
    assert written["warnings"] == [{"kind": "contrast", "text": "inverted."}]


def test_the_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.verdict_path.write_text('{"outcome": "converged", "reasons": ["a"], "gain": 2.5}')
    assert folder.verdict() == Verdict(Outcome.CONVERGED, ("a",), gain=2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cause", "the weather"),
        ("cause", 3),
        ("symmetry", 4),
        ("pseudo_symmetry", ["C3"]),
        ("symmetry_axis", "up"),
        ("symmetry_axis", [0.0, "up"]),
        ("symmetry_gain", "much"),
        ("shares", "half"),
        ("shares", [0.5, "half"]),
        ("misfit", "little"),
        ("warnings", "none"),
        ("warnings", [1]),
        ("warnings", [{"kind": "weather", "text": "rain"}]),
    ],
)
def test_what_a_verdict_cannot_hold_is_damage(tmp_path: Path, name: str, value: object) -> None:
    folder = RunFolder(tmp_path)
    folder.verdict_path.write_text(json.dumps(FULL.figures() | {name: value}))
    with pytest.raises(InputError, match="is damaged"):
        folder.verdict()
