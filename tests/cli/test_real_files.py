"""Every file of the shared data, good or damaged: it trains, or one sentence says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from napari_cryospin.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

# name under corner_cases or particles → what the sentence must mention, or None where it trains
FILES = {
    "corner_cases/big_endian_f32.mrcs": None,
    "corner_cases/both_origin_units.star": None,
    "corner_cases/cs_J9_particles_uid_align_only.cs": "passthrough",
    "corner_cases/cs_J9_passthrough_blob_ctf.cs": "not found",
    "corner_cases/cs_path_leading_gt.cs": "not found",
    "corner_cases/cs_pickled_object.cs": "never loaded",
    "corner_cases/cs_truncated.cs": "cut off",
    "corner_cases/empty.star": "no data block",
    "corner_cases/f16_mode12.mrcs": None,
    "corner_cases/f32.mrcs": None,
    "corner_cases/garbage.star": "not a STAR file",
    "corner_cases/index_out_of_range.star": "image 999",
    "corner_cases/missing_stack.star": "nothere.mrcs",
    "corner_cases/nan_inf.mrcs": None,
    "corner_cases/no_ctf.star": None,
    "corner_cases/nonsquare_32x24.mrcs": "square",
    "corner_cases/relion30.star": None,
    "corner_cases/relion31.star": None,
    "corner_cases/truncated.star": "cut off",
    "corner_cases/truncated_half.mrcs": "cut off",
    "corner_cases/two_optics_groups.star": None,
    "corner_cases/zero_particles.star": "no particles",
    "particles/real_17/sample_incomplete_ctf_params.star": "rlnVoltage",
    "particles/real_17/sample_particles_relion30.star": None,
    "particles/real_17/sample_particles_relion31.star": None,
    "particles/real_17/sample_relion_one_image.star": "not found",
    "particles/real_empiar10076_7/empiar_10076_7.star": None,
    "particles/real_empiar10076_7/empiar_10076_7.cs": None,
    "particles/cryosparc/cryosparc_P12_J24_001_particles.cs": "not found",
    "particles/star_dialects/relion5.star": "not found",
    "particles/star_dialects/relion31.6opticsgroups.star": "not found",
}


@pytest.mark.parametrize("name", FILES)
def test_it_trains_or_says_why_not(shared_data: Path, tmp_path: Path, name: str) -> None:
    options = ["--preset", "quick", "--epochs-encode", "1", "--epochs-decode", "1"]
    arguments = ["reconstruct", str(shared_data / name), "--out", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(app, [*arguments, "--heads", "2", "--threads", "1"])
    expected = FILES[name]
    if expected is None:
        assert result.exit_code == 0, result.stderr
        assert (tmp_path / "run" / "map.mrc").is_file()
        return
    assert result.exit_code == 2
    (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert expected in sentence
    assert name.rsplit("/")[-1] in sentence


def test_every_corner_case_is_listed(shared_data: Path) -> None:
    listed = {name.removeprefix("corner_cases/") for name in FILES if name.startswith("corner")}
    assert {path.name for path in (shared_data / "corner_cases").iterdir()} == listed
