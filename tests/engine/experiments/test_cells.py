"""Cells: what lists multiply out to, in which order, and what each run is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.cells import MOST_CELLS, cells_of
from small_experiments import small_plan

if TYPE_CHECKING:
    from pathlib import Path


def test_lists_are_multiplied_out(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, {"model.heads": [2, 3]}, seed=[0, 1], switch_at=[1, "auto"])
    cells = cells_of(plan)
    told = {(c.seed, c.switch_at, c.settings.model.heads) for c in cells}
    assert len(cells) == 8
    assert told == {(s, k, m) for s in (0, 1) for k in (1, "auto") for m in (2, 3)}
    assert len({cell.name for cell in cells}) == 8


def test_names_tell_what_varies_and_nothing_else(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, {"model.heads": [2, 3]}, seed=[0], switch_at=[4])
    assert [cell.name for cell in cells_of(plan)] == [
        "heads-2_seed-0_switch-4",
        "heads-3_seed-0_switch-4",
    ]


def test_names_of_stacks_that_are_called_alike(tmp_path: Path) -> None:
    stacks = [tmp_path / name / "particles.star" for name in ("spike", "30S", "a b/30S")]
    plan = small_plan(tmp_path, stack=stacks, truth_star=[], truth_map=[], switch_at=[])
    names = [cell.name for cell in cells_of(plan)]
    assert names == [
        "spike-particles_seed-0",
        "30S-particles_seed-0",
        "30S-particles_seed-0~2",
    ]


def test_the_longest_comes_first_in_each_trunk(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, seed=[0, 1], switch_at=["never", 1, "auto", 5, 3])
    switches = [cell.switch_at for cell in cells_of(plan)]
    assert switches == 2 * ["auto", 5, 3, 1, "never"]


def test_each_switch_in_the_settings_of_its_run(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, switch_at=[3, 30, "auto", "never"])
    cells = {cell.switch_at: cell for cell in cells_of(plan)}
    ends = {switch: (c.encoding.until, c.encoding.epochs) for switch, c in cells.items()}
    assert ends == {
        3: ("epochs", 3),
        30: ("epochs", 30),
        "auto": ("criterion", 100),
        # as long as the longest that switches
        "never": ("hand", 30),
    }
    assert {cell.settings.branch_points for cell in cells.values()} == {30}
    assert len({cell.trunk for cell in cells.values()}) == 1


def test_several_starts_have_no_trunk(tmp_path: Path) -> None:
    cells = cells_of(small_plan(tmp_path, {"starts": 2}))
    assert [cell.trunk for cell in cells] == [None, None]


def test_without_a_switch_the_presets_are_as_they_are(tmp_path: Path) -> None:
    (cell,) = cells_of(small_plan(tmp_path, switch_at=[]))
    assert cell.switch_at is None and cell.trunk is None
    assert (cell.encoding.until, cell.encoding.epochs) == ("epochs", 7)


@pytest.mark.parametrize(
    ("settings", "lists", "said"),
    [
        ({"model.head": 3}, {}, "There is no setting model.head."),
        ({"nothing": 3}, {}, "There is no setting nothing."),
        ({"data.box": [32, 33]}, {}, "data.box"),
        ({"marginal.epochs": 3}, {}, "no stage of the run knows it"),
        ({"amortized.until": "hand"}, {}, "amortized.until is what switch_at says"),
        ({}, {"seed": list(range(MOST_CELLS // 2 + 1))}, "at most 1,000 are run as one"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    settings: dict[str, Any], lists: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        cells_of(small_plan(tmp_path, settings, **lists))
    assert said in str(refused.value)
