from __future__ import annotations

from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.cryosparc import read_cs
from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.euler import euler_from_matrices

if TYPE_CHECKING:
    from pathlib import Path

N = 4
COLUMNS: dict[str, tuple[object, ...]] = {
    "uid": ("<u8",),
    "blob/path": ("S40",),
    "blob/idx": ("<u4",),
    "blob/shape": ("<u4", (2,)),
    "blob/psize_A": ("<f4",),
    "blob/sign": ("<f4",),
    "ctf/accel_kv": ("<f4",),
    "ctf/cs_mm": ("<f4",),
    "ctf/amp_contrast": ("<f4",),
    "ctf/df1_A": ("<f4",),
    "ctf/df2_A": ("<f4",),
    "ctf/df_angle_rad": ("<f4",),
    "ctf/phase_shift_rad": ("<f4",),
    "alignments3D/split": ("<u4",),
    "alignments3D/shift": ("<f4", (2,)),
    "alignments3D/pose": ("<f4", (3,)),
    "alignments3D/psize_A": ("<f4",),
}


def particles() -> np.ndarray:
    array = np.zeros(N, [(name, *kind) for name, kind in COLUMNS.items()])
    array["uid"] = [40, 10, 30, 20]
    array["blob/path"] = b">J1/extract/a.mrc"
    array["blob/idx"] = [2, 0, 1, 5]
    array["blob/shape"] = 16
    array["blob/psize_A"] = 2.0
    array["blob/sign"] = -1
    array["ctf/accel_kv"] = 300
    array["ctf/cs_mm"] = 2.7
    array["ctf/amp_contrast"] = 0.1
    array["ctf/df1_A"] = [10000, 11000, 12000, 13000]
    array["ctf/df2_A"] = 9000
    array["ctf/df_angle_rad"] = np.pi / 6
    array["ctf/phase_shift_rad"] = np.pi / 2
    array["alignments3D/split"] = [0, 1, 1, 0]
    array["alignments3D/shift"] = (1.5, -0.5)
    array["alignments3D/pose"] = (0, 0, np.pi / 3)
    array["alignments3D/psize_A"] = 4.0
    return array


def only(array: np.ndarray, prefixes: tuple[str, ...]) -> np.ndarray:
    names = [name for name in array.dtype.names if name.startswith(prefixes)]
    return np.array(array[names].tolist(), [(name, *COLUMNS[name]) for name in names])


def save(path: Path, array: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.save(file, array)
    return path


def write_images(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path) as file:
        file.set_data(np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32))
        file.voxel_size = 2.0
    return path


def test_reads_all_columns(tmp_path: Path) -> None:
    images = write_images(tmp_path / "project" / "J1" / "extract" / "a.mrc")
    (tmp_path / "project" / "J2").mkdir()
    table = read_cs(save(tmp_path / "project" / "J2" / "particles.cs", particles()))
    assert table.stacks == (images,)
    assert table.image_index.tolist() == [2, 0, 1, 5]
    assert (table.box, table.pixel_size) == (16, 2.0)
    assert table.defocus is not None
    np.testing.assert_allclose(table.defocus.angle, 30, rtol=1e-5)
    np.testing.assert_allclose(table.defocus.phase_shift, 90, rtol=1e-5)
    np.testing.assert_allclose(table.shifts, [[6, -2]] * N)
    assert table.half_set.tolist() == [1, 2, 2, 1]
    assert not table.particles_are_white
    # the project's folder is above that of the table: which file was taken is said
    assert [str(images) in note for note in table.notes] == [True]


def test_poses_follow_pyem_into_relions_convention(shared_data: Path) -> None:
    path = shared_data / "particles" / "cryosparc" / "cryosparc_P12_J24_001_particles.cs"
    table = read_cs(path)
    assert table.n_particles == 2019
    assert table.rotations is not None
    # pyem: rot2euler(expmap(pose)), where expmap gives exp([pose]×)ᵀ; of its first row by hand
    x, y, z = np.load(path, allow_pickle=False)["alignments3D/pose"][0].astype(np.float64)
    angle = np.sqrt(x * x + y * y + z * z)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    r = (np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k).T
    rot, psi = np.arctan2(r[2, 1], r[2, 0]), np.arctan2(r[1, 2], -r[0, 2])
    expected = np.degrees([rot, np.arccos(r[2, 2]), psi])
    np.testing.assert_allclose(euler_from_matrices(table.rotations[0]), expected, atol=1e-4)


def test_a_turn_about_the_beam_is_relions_psi(tmp_path: Path) -> None:
    table = read_cs(save(tmp_path / "p.cs", particles()))
    assert table.rotations is not None
    rot, tilt, psi = euler_from_matrices(table.rotations[0])
    assert tilt == pytest.approx(0, abs=1e-6)
    assert rot + psi == pytest.approx(60, abs=1e-4)


def test_agrees_with_the_star_file_of_the_same_particles(shared_data: Path) -> None:
    folder = shared_data / "particles" / "real_empiar10076_7"
    ours, relions = (
        read(folder / f"empiar_10076_7.{suffix}")
        for read, suffix in ((read_cs, "cs"), (read_star, "star"))
    )
    assert ours.stacks == relions.stacks
    np.testing.assert_array_equal(ours.image_index, relions.image_index)
    assert ours.pixel_size == pytest.approx(relions.pixel_size, rel=1e-4)
    assert ours.defocus is not None
    assert relions.defocus is not None
    np.testing.assert_allclose(ours.defocus.u, relions.defocus.u, rtol=1e-5)
    np.testing.assert_allclose(ours.defocus.angle, relions.defocus.angle, rtol=1e-4)


@pytest.mark.parametrize("name", ["a.mrc", "a.mrcs"])
def test_images_that_lie_beside_the_table_are_found(tmp_path: Path, name: str) -> None:
    images = write_images(tmp_path / name)
    assert read_cs(save(tmp_path / "p.cs", particles())).stacks == (images,)


def test_missing_images_are_told_in_a_note(tmp_path: Path) -> None:
    table = read_cs(save(tmp_path / "p.cs", particles()))
    assert any("J1/extract/a.mrc was not found" in note for note in table.notes)


def test_passthrough_rows_are_matched_by_uid(tmp_path: Path) -> None:
    array = particles()
    main = save(tmp_path / "main.cs", only(array, ("uid", "alignments3D")))
    other = save(tmp_path / "passthrough.cs", only(array, ("uid", "blob", "ctf"))[::-1])
    joined, whole = read_cs(main, other), read_cs(save(tmp_path / "whole.cs", array))
    np.testing.assert_array_equal(joined.image_index, whole.image_index)
    assert joined.defocus is not None
    assert joined.defocus.u.tolist() == [10000, 11000, 12000, 13000]
    np.testing.assert_array_equal(joined.rotations, whole.rotations)


def test_the_shared_passthrough_pair_joins(shared_data: Path) -> None:
    folder = shared_data / "corner_cases"
    joined = read_cs(
        folder / "cs_J9_particles_uid_align_only.cs", folder / "cs_J9_passthrough_blob_ctf.cs"
    )
    whole = read_cs(folder / "cs_path_leading_gt.cs")
    np.testing.assert_array_equal(joined.image_index, whole.image_index)
    np.testing.assert_array_equal(joined.rotations, whole.rotations)


def test_a_table_without_images_asks_for_the_passthrough_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the job's passthrough file"):
        read_cs(save(tmp_path / "p.cs", only(particles(), ("uid", "alignments3D"))))


def test_a_passthrough_file_of_another_job_is_refused(tmp_path: Path) -> None:
    array = particles()
    main = save(tmp_path / "main.cs", only(array, ("uid", "alignments3D")))
    array["uid"] += 5
    with pytest.raises(InputError, match="lacks 4 of the 4 particles"):
        read_cs(main, save(tmp_path / "other.cs", array))


def test_without_ctf_columns_there_is_no_ctf(tmp_path: Path) -> None:
    table = read_cs(save(tmp_path / "p.cs", only(particles(), ("uid", "blob"))))
    assert table.defocus is None
    assert table.rotations is None
    assert any("without CTF" in note for note in table.notes)


@pytest.mark.parametrize("name", ["ctf/df1_A", "alignments3D/pose", "blob/psize_A"])
def test_numbers_that_are_none_are_named(tmp_path: Path, name: str) -> None:
    array = particles()
    array[name][1] = np.nan
    with pytest.raises(InputError, match=name):
        read_cs(save(tmp_path / "p.cs", array))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blob/sign": ("<f4", (0,))}, "blob/sign must hold one number"),
        ({"ctf/exp_group_id": ("<u4", (2,))}, "ctf/exp_group_id must hold one number"),
        ({"alignments3D/psize_A": ("V4",)}, "alignments3D/psize_A must hold one number"),
        ({"alignments3D/pose": ("<f4", (2,))}, "alignments3D/pose must hold 3 numbers"),
        ({"blob/path": ("<f4",)}, "blob/path must hold texts"),
        ({"blob/path": ("U9", (2,))}, "blob/path must hold texts"),
        ({"blob/idx": ("S3",)}, "blob/idx must hold one number"),
    ],
)
def test_fields_of_another_kind_are_named(
    tmp_path: Path, change: dict[str, tuple[object, ...]], message: str
) -> None:
    array = np.zeros(N, [(name, *kind) for name, kind in (COLUMNS | change).items()])
    with pytest.raises(InputError, match=message):
        read_cs(save(tmp_path / "p.cs", array))


@pytest.mark.parametrize("code", [0xD800, 0x110000, 0xFFFFFFFF])
def test_texts_that_are_none_are_named(tmp_path: Path, code: int) -> None:
    kinds = COLUMNS | {"blob/path": ("<U9",)}
    array = particles().astype([(name, *kind) for name, kind in kinds.items()])
    path = save(tmp_path / "p.cs", array)
    raw, text = path.read_bytes(), ">J1".encode("utf-32-le")
    assert text in raw
    path.write_bytes(raw.replace(text, text[:8] + code.to_bytes(4, "little")))
    with pytest.raises(InputError, match="blob/path must hold texts"):
        read_cs(path)


def test_image_numbers_out_of_range_are_named(tmp_path: Path) -> None:
    array = particles().astype([(n, *(COLUMNS | {"blob/idx": ("<i8",)})[n]) for n in COLUMNS])
    array["blob/idx"][2] = -1
    with pytest.raises(InputError, match="blob/idx holds numbers that are out of range"):
        read_cs(save(tmp_path / "p.cs", array))


@pytest.mark.parametrize("rows", ["(1000000000,)", "(5,)", "(True,)", "(-1,)", "((((((", "None"])
def test_a_header_that_promises_what_is_not_there_is_told(tmp_path: Path, rows: str) -> None:
    path = save(tmp_path / "p.cs", particles())
    raw = path.read_bytes()
    assert b"(4,), }" in raw
    padded = f"{rows}, }}".encode().ljust(25)
    path.write_bytes(raw.replace(b"(4,), }".ljust(25), padded, 1))
    with pytest.raises(InputError, match=r"cut off|no cryoSPARC particle table") as caught:
        read_cs(path)
    assert "memory" not in str(caught.value)


@pytest.mark.parametrize("version", [b"\2\0", b"\3\0"])
def test_later_versions_of_the_header_are_read(tmp_path: Path, version: bytes) -> None:
    path = save(tmp_path / "p.cs", particles())
    raw = path.read_bytes()
    path.write_bytes(raw[:6] + version + raw[8:10] + b"\0\0" + raw[10:])
    assert read_cs(path).n_particles == N
    path.write_bytes(raw[:6] + version + b"\xff\xff\xff\xff" + raw[10:])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_cs(path)


@pytest.mark.parametrize("size", [0, 5, 9, 60, 600, -1])
def test_a_table_that_is_cut_off_is_told(tmp_path: Path, size: int) -> None:
    path = save(tmp_path / "p.cs", particles())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="cut off"):
        read_cs(path)


def test_paths_that_are_not_utf_8_are_read_as_latin_1(tmp_path: Path) -> None:
    array = particles()
    array["blob/path"] = "J1/extr\xe4ct/a.mrc".encode("latin-1")
    images = write_images(tmp_path / "a.mrc")
    assert read_cs(save(tmp_path / "p.cs", array)).stacks == (images,)
    images.unlink()
    assert any("J1/extr\xe4ct/a.mrc" in note for note in read_cs(tmp_path / "p.cs").notes)


@pytest.mark.parametrize("elsewhere", ["ctf_static", "mscope_params"])
def test_voltage_and_cs_are_found_where_else_cryosparc_keeps_them(
    tmp_path: Path, elsewhere: str
) -> None:
    array = particles()
    names = {n: n.replace("ctf/", f"{elsewhere}/") for n in ("ctf/accel_kv", "ctf/cs_mm")}
    array.dtype.names = tuple(names.get(name, name) for name in array.dtype.names)
    group = read_cs(save(tmp_path / "p.cs", array)).optics[0]
    assert group.voltage == 300
    assert group.spherical_aberration == pytest.approx(2.7)


def test_values_that_the_table_lacks_can_be_given(tmp_path: Path) -> None:
    array = particles()
    names = [name for name in array.dtype.names if name not in ("ctf/accel_kv", "ctf/cs_mm")]
    path = save(tmp_path / "p.cs", only(array, tuple(names)))
    with pytest.raises(InputError, match="--voltage, --cs"):
        read_cs(path)
    given = Given(voltage=200, spherical_aberration=1.4, pixel_size=3.0)
    table = read_cs(path, given=given)
    assert (table.optics[0].voltage, table.optics[0].spherical_aberration) == (200, 1.4)
    assert table.pixel_size == 3.0
    assert any("3 Å, as given, and not 2" in note for note in table.notes)


def test_mixed_contrast_is_refused(tmp_path: Path) -> None:
    array = particles()
    array["blob/sign"][0] = 1
    with pytest.raises(InputError, match="blob/sign"):
        read_cs(save(tmp_path / "p.cs", array))


def test_a_plain_array_is_no_particle_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cryoSPARC particle table"):
        read_cs(save(tmp_path / "p.cs", np.zeros(3)))
