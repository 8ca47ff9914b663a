from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pytest

from napari_cryospin.engine.data.given import Given
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.data.table import CtfApplied
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.euler import matrices_from_euler
from star_tables import OPTICS, PARTICLE, block, star, without

if TYPE_CHECKING:
    from pathlib import Path

RELION_30 = {
    "rlnVoltage": "300",
    "rlnSphericalAberration": "2.7",
    "rlnAmplitudeContrast": "0.1",
    "rlnDetectorPixelSize": "5",
    "rlnMagnification": "20000",
}


def test_reads_relion_31(tmp_path: Path) -> None:
    second = PARTICLE | {"rlnImageName": "6@a.mrcs", "rlnRandomSubset": "2"}
    first = PARTICLE | {"rlnRandomSubset": "1"}
    table = read_star(star(tmp_path, [second, first], [OPTICS]))
    assert table.stacks == (tmp_path / "a.mrcs",)
    assert table.image_index.tolist() == [5, 0]
    assert (table.box, table.pixel_size, table.optics[0].voltage) == (16, 2.5, 300)
    assert table.defocus is not None
    assert (table.defocus.u[0], table.defocus.v[0], table.defocus.angle[0]) == (15000, 14000, 30)
    assert table.defocus.phase_shift[0] == 0
    np.testing.assert_allclose(table.rotations[0], matrices_from_euler([10, 20, 30]))
    np.testing.assert_allclose(table.shifts[0], [5, -2.5])
    assert table.half_set.tolist() == [2, 1]
    assert table.particles_are_white
    assert table.notes == ()


def test_reads_relion_30_with_shifts_in_pixels(tmp_path: Path) -> None:
    row = without(PARTICLE, "rlnOpticsGroup", "rlnOriginXAngst", "rlnOriginYAngst")
    row |= RELION_30 | {"rlnOriginX": "2", "rlnOriginY": "-1"}
    table = read_star(star(tmp_path, [row, row | {"rlnVoltage": "200"}], None))
    assert table.pixel_size == 2.5
    assert [table.optics[i].voltage for i in table.optics_index] == [300, 200]
    np.testing.assert_allclose(table.shifts, [[5, -2.5]] * 2)


def test_shifts_in_angstrom_win(tmp_path: Path) -> None:
    row = PARTICLE | {"rlnOriginX": "9", "rlnOriginY": "9"}
    table = read_star(star(tmp_path, [row], [OPTICS]))
    np.testing.assert_allclose(table.shifts, [[5, -2.5]])
    assert any("rlnOriginX/YAngst" in note for note in table.notes)


def test_optics_groups_are_matched_by_number(tmp_path: Path) -> None:
    other = OPTICS | {"rlnOpticsGroup": "7", "rlnVoltage": "200"}
    unused = OPTICS | {"rlnOpticsGroup": "3", "rlnVoltage": "100"}
    rows = [PARTICLE | {"rlnOpticsGroup": group} for group in ("1", "7", "1")]
    table = read_star(star(tmp_path, rows, [other, unused, OPTICS]))
    assert [table.optics[i].voltage for i in table.optics_index] == [300, 200, 300]
    assert len(table.optics) == 2


def test_pixel_size_comes_from_the_header_where_the_table_has_none(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [without(OPTICS, "rlnImagePixelSize")], 3.5))
    assert table.pixel_size == 3.5
    assert any("3.5 Å is from a.mrcs" in note for note in table.notes)


@pytest.mark.parametrize("unknown", [0.0, 1.0])
def test_pixel_size_that_nobody_knows_is_named(tmp_path: Path, unknown: float) -> None:
    path = star(tmp_path, [PARTICLE], [without(OPTICS, "rlnImagePixelSize")], unknown)
    with pytest.raises(InputError, match="rlnImagePixelSize"):
        read_star(path)


def test_pixel_size_of_the_table_wins(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS], 3.5))
    assert table.pixel_size == 2.5
    assert any("3.5 Å" in note and "2.5 Å" in note for note in table.notes)


def test_no_ctf_is_allowed_and_said(tmp_path: Path) -> None:
    row = without(PARTICLE, "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    table = read_star(star(tmp_path, [row], [OPTICS]))
    assert table.defocus is None
    assert any("without CTF" in note for note in table.notes)


@pytest.mark.parametrize(
    "missing", ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnDefocusAngle"]
)
def test_half_a_ctf_is_refused(tmp_path: Path, missing: str) -> None:
    path = star(tmp_path, [without(PARTICLE, missing)], [without(OPTICS, missing)])
    with pytest.raises(InputError, match=missing):
        read_star(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rlnDefocusU": "abc"}, "rlnDefocusU of row 2"),
        ({"rlnDefocusU": "nan"}, "rlnDefocusU of row 2"),
        ({"rlnDefocusU": "inf"}, "rlnDefocusU of row 2"),
        ({"rlnOpticsGroup": "5"}, "rlnOpticsGroup 5"),
        ({"rlnOpticsGroup": "1.5"}, "rlnOpticsGroup"),
        ({"rlnImageName": "0@a.mrcs"}, "rlnImageName"),
        ({"rlnImageName": "x@a.mrcs"}, "rlnImageName"),
        ({"rlnImageName": "9" * 20 + "@a.mrcs"}, "not NUMBER@FILE"),
        ({"rlnImageName": "9" * 5000 + "@a.mrcs"}, "not NUMBER@FILE"),
        ({"rlnImageName": "a.mrcs"}, "does not say which image"),
        ({"rlnOpticsGroup": "1e300"}, "rlnOpticsGroup"),
        ({"rlnDefocusU": "1e39"}, "rlnDefocusU of row 2"),
        ({"rlnAngleRot": "-1e300"}, "rlnAngleRot of row 2"),
        ({"rlnDefocusU": "1e20"}, "defocus of 1e"),
        ({"rlnOriginYAngst": ""}, "cut off"),
        ({"rlnOriginYAngst": "1 2 3"}, "not a valid STAR file"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = star(tmp_path, [PARTICLE, PARTICLE | change], [OPTICS])
    with pytest.raises(InputError, match=message) as caught:
        read_star(path)
    assert "particles.star" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rlnVoltage": "0"}, "voltage"),
        ({"rlnAmplitudeContrast": "7"}, "amplitude contrast"),
        ({"rlnImagePixelSize": "-1"}, "pixel size"),
        ({"rlnImageDimensionality": "3"}, "rlnImageDimensionality"),
    ],
)
def test_impossible_optics_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = star(tmp_path, [PARTICLE], [OPTICS | change])
    with pytest.raises(InputError, match=message):
        read_star(path)


def test_what_particles_say_of_the_lens_wins_over_their_optics_group(tmp_path: Path) -> None:
    own = {"rlnVoltage": "200", "rlnAmplitudeContrast": "0.07"}
    rows = [PARTICLE | own, PARTICLE | own | {"rlnVoltage": "100"}, PARTICLE | own]
    table = read_star(star(tmp_path, rows, [OPTICS | {"rlnOpticsGroupName": "a"}]))
    groups = [table.optics[i] for i in table.optics_index]
    assert [group.voltage for group in groups] == [200, 100, 200]
    assert {group.amplitude_contrast for group in groups} == {0.07}
    assert {group.spherical_aberration for group in groups} == {2.7}
    assert sorted(group.name for group in table.optics) == ["a", "a_2"]
    assert any("rlnVoltage, rlnAmplitudeContrast: the particles'" in n for n in table.notes)


def test_the_pixel_size_of_the_optics_group_wins_as_in_relion(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE | {"rlnImagePixelSize": "9"}], [OPTICS]))
    assert table.pixel_size == 2.5
    assert any("the particles' own is not used" in note for note in table.notes)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rlnImagePixelSize", "2.5"), ("rlnImageSize", "16"), ("rlnVoltage", "300")],
)
def test_what_the_optics_group_lacks_is_the_particles(
    tmp_path: Path, name: str, value: str
) -> None:
    path = star(tmp_path, [PARTICLE | {name: value}], [without(OPTICS, name)], 0.0)
    group = read_star(path).optics[0]
    assert (group.pixel_size, group.box, group.voltage) == (2.5, 16, 300)


def test_what_only_the_optics_group_says_holds_for_its_particles(tmp_path: Path) -> None:
    names = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
    groups = [
        OPTICS | dict(zip(names, values, strict=True)) | {"rlnPhaseShift": phase, **number}
        for values, phase, number in (
            (("15000", "14000", "30"), "0", {}),
            (("9000", "8000", "60"), "90", {"rlnOpticsGroup": "2"}),
        )
    ]
    rows = [without(PARTICLE, *names) | {"rlnOpticsGroup": group} for group in "212"]
    defocus = read_star(star(tmp_path, rows, groups)).defocus
    assert defocus is not None
    assert defocus.u.tolist() == [9000, 15000, 9000]
    assert defocus.angle.tolist() == [60, 30, 60]
    assert defocus.phase_shift.tolist() == [90, 0, 90]


def test_one_optics_group_needs_no_number(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [without(PARTICLE, "rlnOpticsGroup")], [OPTICS]))
    assert table.optics[0].voltage == 300


@pytest.mark.parametrize("block", ["optics", "particles"])
@pytest.mark.parametrize(
    ("name", "applied", "word"),
    [
        ("rlnCtfDataArePhaseFlipped", CtfApplied.PHASES_FLIPPED, "phase-flipped"),
        ("rlnCtfDataAreCtfPremultiplied", CtfApplied.MULTIPLIED, "multiplied by their CTF"),
    ],
)
def test_images_treated_for_their_ctf_are_used_and_told(
    tmp_path: Path, block: str, name: str, applied: CtfApplied, word: str
) -> None:
    optics, particle = OPTICS, PARTICLE
    if block == "optics":
        optics = optics | {name: "1"}
    else:
        particle = particle | {name: "1"}
    table = read_star(star(tmp_path, [particle], [optics]))
    assert table.optics[0].ctf_applied is applied
    assert any(word in note for note in table.notes)


@pytest.mark.parametrize("block", ["optics", "particles"])
def test_images_not_treated_for_their_ctf_are_plain(tmp_path: Path, block: str) -> None:
    flags = {"rlnCtfDataArePhaseFlipped": "0", "rlnCtfDataAreCtfPremultiplied": "0"}
    rows = [PARTICLE | flags] if block == "particles" else [PARTICLE]
    optics = OPTICS | flags if block == "optics" else OPTICS
    table = read_star(star(tmp_path, rows, [optics]))
    assert table.optics[0].ctf_applied is CtfApplied.NOTHING
    assert table.notes == ()


def test_values_that_the_table_lacks_can_be_given(tmp_path: Path) -> None:
    lacking = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize")
    path = star(tmp_path, [PARTICLE], [without(OPTICS, *lacking)], 0.0)
    given = Given(pixel_size=3.0, voltage=200, spherical_aberration=1.4, amplitude_contrast=0.07)
    group = read_star(path, given).optics[0]
    assert (group.pixel_size, group.voltage) == (3.0, 200)
    assert (group.spherical_aberration, group.amplitude_contrast) == (1.4, 0.07)
    with pytest.raises(InputError, match="--cs"):
        read_star(path, replace(given, spherical_aberration=None))
    with pytest.raises(InputError, match="--pixel-size"):
        read_star(path, replace(given, pixel_size=None))


def test_values_that_are_given_win_over_the_tables_and_it_is_said(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS]), Given(voltage=200, pixel_size=2.5))
    assert table.optics[0].voltage == 200
    assert table.notes == ("The voltage is 200 kV, as given, and not 300.",)


def test_a_stack_of_several_images_without_a_number_is_refused(tmp_path: Path) -> None:
    path = star(tmp_path, [PARTICLE | {"rlnImageName": "a.mrcs"}], [OPTICS])
    with pytest.raises(InputError, match=r"row 1 does not say which image of .*a\.mrcs"):
        read_star(path)
    with mrcfile.new(tmp_path / "a.mrcs", overwrite=True) as file:
        file.set_data(np.ones((1, 16, 16), np.float32))
    assert read_star(path).image_index.tolist() == [0]


def test_stacks_of_tilt_images_are_refused_even_without_their_files(tmp_path: Path) -> None:
    path = star(tmp_path, [PARTICLE], [OPTICS])
    (tmp_path / "a.mrcs").unlink()
    text = path.read_text()
    path.write_text("data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n" + text)
    with pytest.raises(InputError, match="tilt images"):
        read_star(path)


def test_aberrations_are_ignored_aloud(tmp_path: Path) -> None:
    table = read_star(star(tmp_path, [PARTICLE], [OPTICS | {"rlnBeamTiltX": "0.3"}]))
    assert any("rlnBeamTiltX" in note for note in table.notes)


def test_a_table_without_particles_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "optics.star"
    path.write_text(block("optics", [OPTICS]))
    with pytest.raises(InputError, match="rlnImageName"):
        read_star(path)


def test_a_corrected_file_is_read_anew(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_star(star(tmp_path, [PARTICLE, PARTICLE | {"rlnOriginYAngst": "1 2 3"}], [OPTICS]))
    assert read_star(star(tmp_path, [PARTICLE] * 3, [OPTICS])).n_particles == 3


def test_a_missing_stack_is_a_note_when_the_table_knows_its_box(tmp_path: Path) -> None:
    path = star(tmp_path, [PARTICLE], [OPTICS])
    (tmp_path / "a.mrcs").unlink()
    assert any("a.mrcs was not found" in note for note in read_star(path).notes)


def test_a_missing_stack_is_an_error_when_it_does_not(tmp_path: Path) -> None:
    path = star(tmp_path, [PARTICLE], [without(OPTICS, "rlnImageSize")])
    (tmp_path / "a.mrcs").unlink()
    with pytest.raises(InputError, match="rlnImageSize"):
        read_star(path)
