"""Every damaged or unusual file either works or ends with one clear sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import DataSettings
from particle_images import all_images

if TYPE_CHECKING:
    from pathlib import Path

WORK = {
    "big_endian_f32.mrcs": 20,
    "both_origin_units.star": 20,
    "f16_mode12.mrcs": 20,
    "f32.mrcs": 20,
    "nan_inf.mrcs": 20,
    "no_ctf.star": 20,
    "relion30.star": 20,
    "relion31.star": 20,
    "two_optics_groups.star": 20,
}
FAIL = {
    "cs_J9_particles_uid_align_only.cs": "passthrough",
    "cs_J9_passthrough_blob_ctf.cs": "was not found",
    "cs_path_leading_gt.cs": "was not found",
    "cs_pickled_object.cs": "never loaded",
    "cs_truncated.cs": "cut off",
    "empty.star": "no data block",
    "garbage.star": "not a STAR file",
    "index_out_of_range.star": "image 999",
    "missing_stack.star": "nothere.mrcs",
    "nonsquare_32x24.mrcs": "24 x 32",
    "truncated.star": "cut off",
    "truncated_half.mrcs": "cut off",
    "zero_particles.star": "no particles",
}


@pytest.mark.parametrize("name", WORK)
def test_works(shared_data: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    table = read_table(shared_data / "corner_cases" / name)
    stack = prepare(table, DataSettings(box=32))
    assert stack.n == WORK[name]
    assert all_images(stack).isfinite().all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FAIL)
def test_ends_with_one_sentence(
    shared_data: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        prepare(read_table(shared_data / "corner_cases" / name), DataSettings(box=32))
    message = str(caught.value)
    assert name in message
    assert FAIL[name] in message
    assert "\n" not in message
    assert message.endswith(".")
    assert capfd.readouterr() == ("", "")


def test_no_file_is_left_out(shared_data: Path) -> None:
    names = {path.name for path in (shared_data / "corner_cases").iterdir()}
    assert names == WORK.keys() | FAIL.keys()


@pytest.mark.parametrize(
    "name",
    [
        "real_17/sample_particles_relion30.star",
        "real_17/sample_particles_relion31.star",
        "real_empiar10076_7/empiar_10076_7.star",
        "real_empiar10076_7/empiar_10076_7.cs",
    ],
)
def test_real_particles_work(shared_data: Path, name: str) -> None:
    stack = prepare(read_table(shared_data / "particles" / name), DataSettings(box=64))
    assert all_images(stack).shape == (stack.n, 64, 64)
    assert stack.ctf_parameters is not None
