"""The command that simulates: its options reach the stack, and what cannot be is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from command_calls import call, is_one_sentence
from napari_cryospin.engine.data.star import read_star

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SMALL = ("--box", 32, "--n-particles", 40)


def made(source: Path, out: Path, *options: object) -> pd.DataFrame:
    """Simulate a small stack; return the particles of its truth."""
    result = call("simulate", source, "--out", out, *SMALL, *options)
    assert result.exit_code == 0, result.output
    return read_star(out / "truth.star").original.blocks["particles"]


def test_options_of_a_realistic_stack_have_their_say(small_stack: Path, tmp_path: Path) -> None:
    source = small_stack / "truth.mrc"
    frame = made(source, tmp_path / "a", "--realistic")
    assert (frame["cryospinMembership"] == "0").sum() == round(0.12 * 40)
    scales = frame["cryospinScale"].astype(float)
    assert 0.1 < scales.std() < 0.35
    shifts = frame[["rlnOriginXAngst", "rlnOriginYAngst"]].astype(float)
    assert 0.02 < shifts.to_numpy().std() / (32 * 4.0) < 0.04
    without = ("--junk", 0, "--contrast-spread", 0, "--shift-std", 20, "--defocus-error", 0)
    frame = made(source, tmp_path / "b", "--realistic", *without)
    assert (frame["cryospinMembership"] == "1").all()
    assert (frame["cryospinScale"].astype(float) == 1).all()
    assert frame["rlnOriginXAngst"].astype(float).std() > 12
    blind, truth = (read_star(tmp_path / "b" / f"{name}.star") for name in ("particles", "truth"))
    assert np.array_equal(blind.defocus.u, truth.defocus.u)


@pytest.mark.parametrize(
    "options",
    [
        ("--noise", "coloured"),
        ("--ice", 0.3),
        ("--envelope", 100),
        ("--contrast-spread", 0.2),
        ("--ramp", 0.2),
        ("--background", 0.2),
        ("--off-centre", 0.05),
        ("--defocus-error", 200),
        ("--groups", 2),
        ("--true-amplitude-contrast", 0.2),
        ("--views", "belt", "--view-angle", 10),
        ("--symmetry", "C2"),
        ("--junk", 0.2),
        ("--neighbours", 0.2),
        ("--beads", 0.1),
    ],
)
def test_every_option_reaches_the_images(
    small_stack: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    source = small_stack / "truth.mrc"
    made(source, tmp_path / "plain")
    made(source, tmp_path / "unkind", *options)
    plain, unkind = (mrcfile.read(tmp_path / x / "particles.mrcs") for x in ("plain", "unkind"))
    assert not np.array_equal(plain, unkind)


def test_kinds_of_junk_and_second_structures(small_stack: Path, tmp_path: Path) -> None:
    source, second = small_stack / "truth.mrc", tmp_path / "second.mrc"
    with mrcfile.new(second) as mrc:
        mrc.set_data(np.ascontiguousarray(mrcfile.read(source)[::-1]))
        mrc.voxel_size = 4.0
    options = ("--junk", 0.5, "--junk-kinds", "edge, blob", "--second", second)
    frame = made(source, tmp_path / "s", *options, "--second-share", 0.4)
    assert frame["cryospinJunk"].value_counts().to_dict() == {"none": 20, "edge": 10, "blob": 10}
    assert frame["rlnClassNumber"].value_counts().to_dict() == {"0": 20, "1": 12, "2": 8}
    assert (tmp_path / "s" / "truth_class2.mrc").is_file()
    result = call("simulate", source, "--out", tmp_path / "s", *SMALL)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--junk", 1.5), "--junk must be from 0 to 1"),
        (("--junk", 0.1, "--junk-kinds", "dust"), "There is no junk of the kind dust"),
        (("--junk", 0.1, "--junk-kinds", ","), "No kind of junk was named"),
        (("--symmetry", "X2"), "There is no symmetry X2"),
        (("--second-share", 0.5), "needs a second structure"),
        (("--second", "absent.mrc"), "absent.mrc does not exist"),
        (("--views", "cap", "--view-angle", -3), "--view-angle must be"),
        (("--shift-std", 3, "--off-centre", 0.1), "not both"),
        (("--ice", "nan"), "--ice must be from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused(
    small_stack: Path, tmp_path: Path, options: tuple[object, ...], sentence: str
) -> None:
    out = tmp_path / "s"
    result = call("simulate", small_stack / "truth.mrc", "--out", out, *SMALL, *options)
    assert result.exit_code == 2, result.output
    assert is_one_sentence(result)
    assert sentence in result.stderr
    assert not out.exists()


def test_evaluation_modulo_a_symmetry(finished_run: Path, small_stack: Path) -> None:
    truth = ("--truth-star", small_stack / "truth.star", "--truth-map", small_stack / "truth.mrc")
    plain, modulo = (
        json.loads(call("evaluate", finished_run, *truth, *more, "--json").stdout)
        for more in ((), ("--symmetry", "C4"))
    )
    assert modulo["n_particles"] == plain["n_particles"] == 200
    assert modulo["mean_pose_error_deg"] < plain["mean_pose_error_deg"]
    result = call("evaluate", finished_run, *truth, "--symmetry", "C0")
    assert result.exit_code == 2
    assert is_one_sentence(result)
