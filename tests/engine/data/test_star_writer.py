"""What stood in the user's table stands in what is written of it, text for text."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest
import starfile

from napari_cryospin.engine.data.class_columns import CLASS, class_columns
from napari_cryospin.engine.data.columns import read_blocks
from napari_cryospin.engine.data.cs_writer import write_cs
from napari_cryospin.engine.data.load import read_table
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.data.star_text import read_text
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.euler import matrices_from_euler
from napari_cryospin.engine.geometry.rotations import random_rotations

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from napari_cryospin.engine.data.table import ParticleTable

# written anew with every pose; RELION itself reads no origins in pixels beside those in Å
POSES = {
    *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"),
    *("rlnOriginX", "rlnOriginY", "rlnImageName", "rlnRandomSubset"),
}
STARS = (
    "particles/real_17/sample_particles_relion30.star",
    "particles/real_17/sample_particles_relion31.star",
    "particles/real_17/sample_relion_symmetry_group_D4.star",
    "particles/real_empiar10076_7/empiar_10076_7.star",
    "particles/star_dialects/relion31.6opticsgroups.star",
    "particles/star_dialects/relion5.star",
    "particles/relion_oracle_64/rln_proj_64_centered.star",
    "particles/relion_oracle_64/rln_proj_64_shifted.star",
    "corner_cases/relion30.star",
    "corner_cases/relion31.star",
    "corner_cases/no_ctf.star",
    "corner_cases/both_origin_units.star",
    "corner_cases/two_optics_groups.star",
    "bug_reports/metadata.star",
    "bug_reports/override.star",
    "bug_reports/own/particles.star",
)


def written(folder: Path, table: ParticleTable, rows: np.ndarray | None = None) -> Path:
    """Write rows of a table with random poses."""
    rows = np.arange(table.n_particles) if rows is None else rows
    rng = np.random.default_rng(1)
    path = folder / "out.star"
    write_star(
        path,
        table,
        rows,
        rotations=random_rotations(len(rows), rng),
        shifts=rng.normal(size=(len(rows), 2)),
        half_set=np.arange(len(rows)) % 2 + 1,
        scales=np.ones(len(rows)),
    )
    return path


def frames(path: Path) -> dict[str, pd.DataFrame]:
    return {name: block.frame for name, block in read_blocks(path).items()}


def assert_carried(path: Path, table: ParticleTable, rows: np.ndarray) -> None:
    original = table.original
    assert isinstance(original, StarOriginal)
    found = frames(path)
    for name, frame in original.blocks.items():
        is_particles = name == original.particles
        kept = frame.iloc[rows] if is_particles else frame
        block = found["particles" if is_particles else name]
        if name == "optics":
            # groups with particles come first
            frame = kept = kept.set_index("rlnOpticsGroup", drop=False)
            block = block.set_index("rlnOpticsGroup", drop=False).loc[list(kept.index)]
        for column in set(frame.columns) - POSES:
            assert list(block[column]) == list(kept[column]), (name, column)
        order = [column for column in frame.columns if column in block]
        assert [column for column in block.columns if column in order] == order


def readable(folder: Path) -> dict[str, ParticleTable]:
    """Return the tables of every star file that can be read, by name."""
    found = {}
    # damaged on purpose: whether they are read at all is the reader's affair
    whole = (path for path in folder.rglob("*.star") if "fuzz_inputs" not in path.parts)
    for path in sorted(whole):
        with suppress(InputError):
            found[path.relative_to(folder).as_posix()] = read_star(path)
    return found


def test_every_other_column_keeps_its_text(shared_data: Path, tmp_path: Path) -> None:
    tables = readable(shared_data)
    assert set(STARS) <= set(tables)
    for table in tables.values():
        rows = np.arange(table.n_particles)[::-2]
        path = written(tmp_path, table, rows)
        assert_carried(path, table, rows)
        again = read_star(path)
        assert again.stacks == tuple(table.stacks[i] for i in np.unique(table.stack_index[rows]))
        np.testing.assert_array_equal(again.image_index, table.image_index[rows])


BLOCKS = """# my own remark
data_general

_rlnTomoName none

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnMtfFileName #8
3 unused 300.0 2.70 0.1 4.0 16 mtf.star
2 mine 300.0 2.70 0.1 2.50 16 "my mtf.star"

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnAnglePsiPrior #6
_rlnOriginXPriorAngst #7
_rlnCtfMaxResolution #8
_someOtherProgram #9
1@a.mrcs 2 15000.10 14000 030.0 12.0 1.0 nan None
2@a.mrcs 2 15000.10 14000 030.0 12.0 1.0 4.50 "two words"

data_job

loop_
_rlnJobName #1
first
second
"""


@pytest.fixture
def table(tmp_path: Path) -> ParticleTable:
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32))
    (tmp_path / "in.star").write_text(BLOCKS)
    return read_star(tmp_path / "in.star")


def test_blocks_columns_and_odd_texts_are_carried(tmp_path: Path, table: ParticleTable) -> None:
    found = frames(written(tmp_path, table))
    assert list(found) == ["general", "optics", "particles", "job"]
    assert found["general"]["rlnTomoName"].tolist() == ["none"]
    assert found["job"]["rlnJobName"].tolist() == ["first", "second"]
    particles = found["particles"]
    assert particles["rlnDefocusU"].tolist() == ["15000.10"] * 2
    assert particles["rlnDefocusAngle"].tolist() == ["030.0"] * 2
    assert particles["someOtherProgram"].tolist() == ["None", "two words"]
    assert particles["rlnImageName"].tolist() == ["1@a.mrcs", "2@a.mrcs"]
    assert " nan" in (tmp_path / "out.star").read_text().replace("\t", " ")


def test_values_with_quotes_are_carried(tmp_path: Path, table: ParticleTable) -> None:
    text = (tmp_path / "in.star").read_text().replace('"two words"', "'say \"x\" twice'")
    (tmp_path / "in.star").write_text(text.replace("4.50", '"it\'s"'))
    particles = frames(written(tmp_path, read_star(tmp_path / "in.star")))["particles"]
    assert particles["someOtherProgram"].tolist() == ["None", 'say "x" twice']
    assert particles["rlnCtfMaxResolution"].tolist() == ["nan", "it's"]


@pytest.mark.parametrize(
    "name",
    [b"a@b.mrcs", b"caf\xe9 1.mrcs", b"a\xa0b.mrcs", b"\xc3\xa9\xc2\x85.mrcs", b'it\'s "a".mrcs'],
)
def test_odd_names_of_stacks_are_found_again(tmp_path: Path, name: bytes) -> None:
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32))
        file.voxel_size = 2.0
    stack = (tmp_path / "a.mrcs").rename(tmp_path / os.fsdecode(name))
    table = read_table(stack)
    for writer in (write_star, write_cs):
        poses = {"rotations": np.tile(np.eye(3), (2, 1, 1)), "shifts": np.zeros((2, 2))}
        path = tmp_path / f"{writer.__name__}.{writer.__name__[6:]}"
        writer(path, table, np.arange(2), **poses)
        table = read_table(path)
        assert table.stacks == (stack,)
        assert table.image_index.tolist() == [0, 1]


def test_texts_beside_a_name_that_is_no_utf_8_stay(tmp_path: Path, table: ParticleTable) -> None:
    stack = (tmp_path / "a.mrcs").rename(tmp_path / os.fsdecode(b"caf\xe9.mrcs"))
    text = (tmp_path / "in.star").read_text().replace("a.mrcs", "caf\xe9.mrcs")
    (tmp_path / "in.star").write_text(text.replace("None", "\xe4"), encoding="latin-1")
    again = read_star(written(tmp_path, read_star(tmp_path / "in.star")))
    assert again.stacks == (stack,)
    assert isinstance(again.original, StarOriginal)
    assert again.original.blocks["particles"]["someOtherProgram"].tolist() == ["\xe4", "two words"]


def test_a_name_that_no_table_can_hold_is_told_before_the_run(tmp_path: Path) -> None:
    for name in ("a\nb.mrcs", "a' b\" c.mrcs"):
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(np.zeros((2, 16, 16), np.float32))
        with pytest.raises(InputError, match="no table of RELION can hold the name"):
            read_table(tmp_path / name)


def test_a_block_that_is_no_loop_stays_none(tmp_path: Path, table: ParticleTable) -> None:
    assert not read_text(written(tmp_path, table))["general"].loop


def test_particles_need_not_name_the_only_group(tmp_path: Path, table: ParticleTable) -> None:
    text = (tmp_path / "in.star").read_text()
    text = text.replace("3 unused 300.0 2.70 0.1 4.0 16 mtf.star\n", "")
    text = text.replace("_rlnOpticsGroup #2\n", "").replace("a.mrcs 2 1", "a.mrcs 1")
    (tmp_path / "in.star").write_text(text)
    path = written(tmp_path, read_star(tmp_path / "in.star"))
    assert frames(path)["particles"]["rlnOpticsGroup"].tolist() == ["2", "2"]
    assert read_star(path).optics[0].name == "mine"


def test_what_nobody_computes_with_may_hold_anything(tmp_path: Path, table: ParticleTable) -> None:
    text = (tmp_path / "in.star").read_text().replace("_rlnCtfMaxResolution", "_rlnBeamTiltX")
    text = text.replace("_rlnMtfFileName", "_rlnImageDimensionality").replace('"my mtf.star"', "2")
    (tmp_path / "in.star").write_text(text.replace(" mtf.star", " None"))
    found = read_star(tmp_path / "in.star")
    assert "Not modelled and ignored: rlnBeamTiltX." in found.notes


def test_groups_in_use_come_first_for_relion(tmp_path: Path, table: ParticleTable) -> None:
    optics = frames(written(tmp_path, table))["optics"]
    assert optics["rlnOpticsGroup"].tolist() == ["2", "3"]
    assert optics["rlnMtfFileName"].tolist() == ["my mtf.star", "mtf.star"]


def test_priors_of_another_frame_are_left_out(tmp_path: Path, table: ParticleTable) -> None:
    particles = frames(written(tmp_path, table))["particles"]
    assert not {"rlnAnglePsiPrior", "rlnOriginXPriorAngst"} & set(particles.columns)


def test_own_columns_and_what_relion_needs_are_added(tmp_path: Path, table: ParticleTable) -> None:
    found = frames(written(tmp_path, table))
    assert set(found["particles"]["cryospinScale"].astype(float)) == {1.0}
    assert found["particles"]["rlnMicrographName"].tolist() == ["a.mrcs"] * 2
    assert found["optics"]["rlnImageDimensionality"].tolist() == ["2", "2"]


def test_what_an_earlier_run_said_of_its_poses_goes_with_them(
    tmp_path: Path, table: ParticleTable
) -> None:
    path, n = tmp_path / "out.star", table.n_particles
    own = {"scales": np.full(n, 1.5), "log_likelihood": np.arange(n), "explained": np.ones(n)}
    poses = {"rotations": np.tile(np.eye(3), (n, 1, 1)), "shifts": np.zeros((n, 2))}
    write_star(path, table, np.arange(n), **poses, **own)
    names = ["cryospinScale", "cryospinLogLikelihood", "cryospinExplained"]
    found = frames(path)["particles"][names].to_numpy().astype(float)
    assert np.array_equal(found, np.column_stack(list(own.values())))
    again, rows = read_star(path), np.arange(n)
    write_star(tmp_path / "kept.star", again, rows, rotations=None, shifts=None)
    assert set(names) <= set(frames(tmp_path / "kept.star")["particles"])
    write_star(tmp_path / "other.star", again, rows, **poses)
    assert not set(names) & set(frames(tmp_path / "other.star")["particles"])


def test_classes_of_an_earlier_run_go_with_its_poses(tmp_path: Path, table: ParticleTable) -> None:
    rows, poses = np.arange(2), {"rotations": np.tile(np.eye(3), (2, 1, 1)), "shifts": None}
    one, three = tmp_path / "one.star", tmp_path / "three.star"
    found = class_columns(np.array([0, 2]), np.eye(3)[[0, 2]])
    write_star(three, table, rows, **poses, more=found)
    earlier = read_star(three)
    # a table without poses, or with those that it had, is as it was
    write_star(one, earlier, rows, rotations=None, shifts=None)
    assert set(found) <= set(frames(one)["particles"])
    write_star(one, earlier, rows, **poses)
    assert not set(found) & set(frames(one)["particles"])
    two = class_columns(np.array([1, 0]), np.eye(2)[[1, 0]])
    write_star(one, earlier, rows, **poses, more=two)
    particles = frames(one)["particles"]
    assert set(particles) & set(found) == set(two) == set(found) - {"cryospinClass3"}
    assert particles[CLASS].tolist() == ["2", "1"]
    # classes of another program say nothing of ours, and stay
    write_star(three, table, rows, **poses, more={CLASS: np.array([7, 9])})
    write_star(one, read_star(three), rows, **poses)
    assert frames(one)["particles"][CLASS].tolist() == ["7", "9"]


def test_a_table_of_relion_30_gets_the_blocks_of_31(shared_data: Path, tmp_path: Path) -> None:
    table = read_star(shared_data / "corner_cases/relion30.star")
    found = frames(written(tmp_path, table))
    assert list(found) == ["optics", "particles"]
    assert not {"rlnOriginX", "rlnOriginY"} & set(found["particles"].columns)
    assert found["optics"]["rlnImagePixelSize"].astype(float).tolist() == [2.5]
    assert set(found["particles"]["rlnOpticsGroup"]) == {"1"}


def test_what_was_used_in_place_of_the_tables_value_is_written(
    tmp_path: Path, table: ParticleTable
) -> None:
    optics = tuple(replace(group, voltage=200.0) for group in table.optics)
    found = frames(written(tmp_path, replace(table, optics=optics)))["optics"]
    assert found["rlnVoltage"].astype(float).tolist() == [200.0, 300.0]
    assert found["rlnSphericalAberration"].tolist() == ["2.70", "2.70"]


def test_a_bare_stack_gets_placeholders_that_are_told(tmp_path: Path, shared_data: Path) -> None:
    path = written(tmp_path, read_table(shared_data / "corner_cases/f32.mrcs"))
    assert path.read_text().startswith("# rlnVoltage, rlnSphericalAberration, rlnAmplitudeContrast")
    optics = starfile.read(path)["optics"]
    # a CTF of 1, whatever the frequency
    assert optics["rlnSphericalAberration"].tolist() == [0]
    assert optics["rlnAmplitudeContrast"].tolist() == [1]
    assert read_star(path).defocus is None


def test_poses_are_the_ones_given(tmp_path: Path, table: ParticleTable) -> None:
    rotations = matrices_from_euler([[10, 20, 30], [40, 50, 60]])
    path = tmp_path / "out.star"
    write_star(path, table, np.arange(2), rotations=rotations, shifts=np.ones((2, 2)))
    np.testing.assert_allclose(read_star(path).rotations, rotations, atol=1e-7)
