"""Mutated files on which reading once ended badly: each is read, or refused in one sentence."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.density import fitting_pixel_size
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = {
    "atoms_InputError-not-one-sentence-lines-InputE_a76f5cb691.pdb": "cannot be read as PDB",
    "atoms_ZeroDivisionError-at-density-py-fitting-_129d7d16f6.pdb": "element and an occupancy",
    "cs_IndexError-at-cryosparc-py-particles-are_3311d85b05.cs": "blob/sign",
    "cs_TokenError-at-cryosparc-py-read-tokenize_b34873085d.cs": "damaged",
    "cs_TypeError-at-cryosparc-py-read-format-im_15839b7843.cs": "no cryoSPARC particle table",
    "cs_UnicodeDecodeError-at-cryosparc-py-names_9787f34712.cs": "blob/sign",
    "cs_ValueError-at-cryosparc-py-optics-shape-_baa0289dab.cs": "ctf/exp_group_id",
    "cs_ValueError-at-cryosparc-py-shifts-cryosp_10fe3e4f58.cs": "alignments3D/psize_A",
    "mrc_RSS-growth-MiB-mrc-_e072a30d1f.mrcs": "cut off",
    "mrc_slow-s-mrc-_094f3ba644.mrcs": "cut off",
    "star_OverflowError-at-star-py-images-star-py-_9ba3099f95.star": "cut off",
}


def open_file(path: Path) -> None:
    if path.suffix == ".pdb":
        fitting_pixel_size(path, 32)
    else:
        prepare(read_table(path), DataSettings(box=32))


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence_and_little_memory(shared_data: Path, name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=REFUSED[name]) as caught:
            open_file(shared_data / "fuzz_inputs" / name)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_no_file_of_the_readers_is_left_out(shared_data: Path) -> None:
    names = {path.name for path in (shared_data / "fuzz_inputs").iterdir()}
    assert {n for n in names if not n.startswith(("run_", "README"))} == REFUSED.keys()
