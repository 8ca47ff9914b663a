"""Commands that look at a run of several classes: each particle beside the map of its own class."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from command_calls import call, is_one_sentence
from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.star import read_star, write_star
from napari_cryospin.engine.geometry.euler import matrices_from_euler
from napari_cryospin.engine.geometry.hand import mirrored_map
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.runfolder.class_files import of_class
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import write_poses

if TYPE_CHECKING:
    from pathlib import Path


# of none of the runs: it is not looked at
TRUTH = "--truth-star", "truth.star", "--truth-map", "truth.mrc"


@pytest.fixture
def copied(run_of_two: Path, tmp_path: Path) -> Path:
    """A copy of the run of two classes that a test may change."""
    return shutil.copytree(run_of_two, tmp_path / "run")


def particle_of(run: Path, number: int) -> int:
    """Row of the table, from 1, of the first particle of a class, from 1."""
    return int(np.flatnonzero(RunFolder(run).poses().classes == number - 1)[0]) + 1


def posterior(run: Path, particle: int, *options: object) -> dict[str, Any]:
    result = call("posterior", run, "--particle", particle, "--nside", 4, "--json", *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def from_pose_of(run: Path, particle: int, found: dict[str, Any]) -> float:
    """Degrees between the best pose of a posterior and the one that the run has."""
    best = matrices_from_euler(np.array(found["best_rot_tilt_psi_deg"]))
    return float(angular_distance(best, RunFolder(run).poses().rotations[particle - 1]))


def test_a_posterior_is_against_the_map_of_the_particle_s_class(run_of_two: Path) -> None:
    for number in (1, 2):
        particle = particle_of(run_of_two, number)
        own = posterior(run_of_two, particle)
        assert (own["class"], own["class_of_map"]) == (number, number)
        assert own == posterior(run_of_two, particle, "--class", number)
        other = posterior(run_of_two, particle, "--class", 3 - number)
        assert (other["class"], other["class_of_map"]) == (number, 3 - number)
        assert from_pose_of(run_of_two, particle, own) < 5
        assert from_pose_of(run_of_two, particle, other) > 20
        recorded = posterior(run_of_two, particle, "--epoch", 2)
        assert from_pose_of(run_of_two, particle, recorded) < 5


def survey(run: Path, *options: object) -> list[dict[str, Any]]:
    result = call("survey", run, "--probes", 10, "--json", *options)
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout, parse_constant=pytest.fail)
    return rows


def test_a_survey_is_of_the_largest_class_or_the_one_that_is_named(
    run_of_two: Path, tmp_path: Path
) -> None:
    # class 1 is the largest
    largest = survey(run_of_two)
    assert [row["class"] for row in largest] == [1, 1]
    assert largest == survey(run_of_two, "--class", 1)
    table = tmp_path / "survey.csv"
    second = survey(run_of_two, "--class", 2, "--csv", table)
    assert [row["class"] for row in second] == [2, 2]
    # an epoch in which nobody is of the class is no damage
    assert second[0]["entropy"] is None and second[0]["epoch"] == 0
    assert second[1]["entropy"] not in (None, largest[1]["entropy"])
    assert [line.split(",")[-1] for line in table.read_text().splitlines()] == ["class", "2", "2"]


def test_the_largest_class_need_not_be_the_first(copied: Path) -> None:
    run, told = RunFolder(copied), RunFolder(copied).poses()
    swapped = {"classes": 1 - told.classes, "class_weights": told.class_weights[:, ::-1]}
    write_poses(run, replace(told, epoch=2, **swapped))
    run.write_epoch_maps(2, [read_map(of_class(run.map_path, n))[0] for n in (2, 1)], 4.0)
    assert {row["class"] for row in survey(copied)} == {2}


def test_a_survey_says_in_words_which_class_it_is_of(run_of_two: Path) -> None:
    result = call("survey", run_of_two, "--probes", 5, "--class", 2)
    assert "Particles of class 2, relative to its map" in result.stdout
    assert "nobody is in the class" in result.stdout
    assert "Note:" not in result.stderr


def test_a_class_that_never_has_anybody_is_one_sentence(copied: Path) -> None:
    RunFolder(copied).poses_path(1).unlink()
    refused = call("survey", copied, "--class", 2)
    assert refused.exit_code == 2 and is_one_sentence(refused)
    assert "No particle is of class 2 in any epoch" in refused.stderr


def truth_of(run: Path) -> tuple[object, ...]:
    return (
        *("--truth-star", run.parent / "truth.star"),
        *("--truth-map", run.parent / "truth.mrc"),
    )


def test_one_class_is_compared_with_the_truth(run_of_two: Path) -> None:
    result = call("evaluate", run_of_two, *truth_of(run_of_two), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    # the truth is of the smaller class, and map.mrc of the larger one
    assert found["class"] == 2
    assert found["n_particles"] == (RunFolder(run_of_two).poses().classes == 1).sum()
    assert found["mean_pose_error_deg"] < 1
    assert found["fsc_0.5_fraction_of_nyquist"] > 0.8
    named = call("evaluate", run_of_two, *truth_of(run_of_two), "--class", 2)
    assert re.search(r"^class +2$", named.stdout, re.MULTILINE)


def test_a_class_without_the_truth_s_particles_is_one_sentence(run_of_two: Path) -> None:
    refused = call("evaluate", run_of_two, *truth_of(run_of_two), "--class", 1)
    assert refused.exit_code == 2 and is_one_sentence(refused)
    assert "none of the particles of class 1 belongs to the first structure" in refused.stderr


def test_the_largest_class_is_compared_where_the_truth_does_not_tell(copied: Path) -> None:
    folder = RunFolder(copied)
    truth = read_star(folder.settings().data.stack.with_name("truth.star"))
    plain, star = read_star(folder.settings().data.stack), copied / "truth.star"
    write_star(
        star, plain, np.arange(truth.n_particles), rotations=truth.rotations, shifts=truth.shifts
    )
    files = "--truth-star", star, "--truth-map", truth.source.with_name("truth_class2.mrc")
    found = json.loads(call("evaluate", copied, *files, "--json").stdout)
    assert found["class"] == 1 and found["mean_pose_error_deg"] < 1
    second = json.loads(call("evaluate", copied, *files, "--class", 2, "--json").stdout)
    assert second["class"] == 2 and second["mean_pose_error_deg"] < 1
    of_class(folder.map_path, 2).unlink()
    refused = call("evaluate", copied, *files, "--class", 2)
    assert refused.exit_code == 2 and is_one_sentence(refused)


@pytest.mark.parametrize("options", [(), ("--class", 1)])
def test_a_run_of_one_class_says_nothing_of_classes(
    command_run: Path, small_stack: Path, options: tuple[object, ...]
) -> None:
    truth = "--truth-star", small_stack / "truth.star", "--truth-map", small_stack / "truth.mrc"
    assert "class" not in call("evaluate", command_run, *truth, *options).stdout
    found = posterior(command_run, 3, *options)
    assert "class" not in found and "class_of_map" not in found
    assert found == posterior(command_run, 3)
    assert all("class" not in row for row in survey(command_run, *options))
    assert "class" not in call("survey", command_run, "--probes", 5, *options).stdout


@pytest.mark.parametrize(
    "line", [("posterior", "--particle", 1), ("survey",), ("evaluate", *TRUTH)]
)
def test_a_class_that_is_not_there_is_one_sentence(
    run_of_two: Path, command_run: Path, line: tuple[object, ...]
) -> None:
    command, *options = line
    for run, sentence in (
        (run_of_two, "There is no class 3: the run has classes 1 to 2."),
        (command_run, "There is no class 3: the run has one class."),
    ):
        refused = call(command, run, *options, "--class", 3)
        assert refused.exit_code == 2 and is_one_sentence(refused)
        assert sentence in refused.stderr


def test_a_class_that_nobody_is_in_takes_no_other_s_place(copied: Path) -> None:
    """At the end of a run it has no file: the next class's is not its map."""
    folder, particle = RunFolder(copied), particle_of(copied, 2)
    own = posterior(copied, particle)
    of_class(folder.map_path, 1).unlink()
    assert posterior(copied, particle) == own
    refused = call("posterior", copied, "--particle", particle, "--class", 1)
    assert refused.exit_code == 2 and is_one_sentence(refused)
    assert "There is no map of class 1" in refused.stderr


def test_the_class_is_told_in_words(run_of_two: Path) -> None:
    words = ("posterior", run_of_two, "--particle", particle_of(run_of_two, 2), "--nside", 2)
    assert " of class 2: entropy" in call(*words).stdout
    assert " of class 2, against the map of class 1: entropy" in call(*words, "--class", 1).stdout


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_mirrored_map_is_that_of_the_class(
    copied: Path, tmp_path: Path, interrupted: bool
) -> None:
    folder = RunFolder(copied)
    maps = {number: read_map(of_class(folder.map_path, number))[0] for number in (1, 2)}
    if interrupted:
        for path in copied.glob("map*.mrc"):
            path.unlink()
    out, beside = tmp_path / "out.star", tmp_path / "out_map.mrc"
    for number in (2, 1):
        result = call("export", copied, "--out", out, "--flip-hand", "--classes", number)
        assert result.exit_code == 0, result.output
        assert f"{beside}: the mirror image of the map of class {number}." in result.stdout
        assert np.array_equal(read_map(beside)[0], mirrored_map(maps[number]))
        assert not list(tmp_path.glob("out_map_class*"))
        out.unlink()
        beside.unlink()


@pytest.mark.parametrize("options", [(), ("--classes", "2,1")])
def test_several_classes_have_a_mirrored_map_each(
    run_of_two: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    out = tmp_path / "out.star"
    result = call("export", run_of_two, "--out", out, "--flip-hand", *options)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.glob("*.mrc")) == [
        "out_map_class1.mrc",
        "out_map_class2.mrc",
    ]
    for number in (1, 2):
        path = of_class(tmp_path / "out_map.mrc", number)
        assert f"{path}: the mirror image of the map of class {number}." in result.stdout
        own = read_map(of_class(RunFolder(run_of_two).map_path, number))[0]
        assert np.array_equal(read_map(path)[0], mirrored_map(own))
    # none of them is replaced
    out.unlink()
    of_class(tmp_path / "out_map.mrc", 1).unlink()
    refused = call("export", run_of_two, "--out", out, "--flip-hand")
    assert refused.exit_code == 2 and is_one_sentence(refused)
    assert "out_map_class2.mrc is there already" in refused.stderr
