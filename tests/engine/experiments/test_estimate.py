"""How much work an experiment is: what is common counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.experiments.cells import cells_of
from napari_cryospin.engine.experiments.estimate import (
    epochs_of,
    pace_of,
    plan_sentence,
    seconds_of,
)
from napari_cryospin.engine.stages import Inference
from small_experiments import small_plan

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.records import RunRecord


def test_a_trunk_counts_once(tmp_path: Path) -> None:
    cells = cells_of(small_plan(tmp_path, seed=[0, 1], switch_at=[1, 5, "never"]))
    # of each seed: 5 and 1 epoch, 1, and 5 + 1 without a switch of which 5 are common
    assert epochs_of(cells) == {Inference.AMORTIZED: 2 * (5 + 1), Inference.DIRECT: 2 * 2}
    assert "6 cells, at most 16 epochs (28 if each were run alone)." == plan_sentence(cells)


def test_starts_of_several_classes_are_one_more(tmp_path: Path) -> None:
    settings = {"starts": 2, "model.classes": 2}
    cells = cells_of(small_plan(tmp_path, settings, switch_at=[5]))
    # three starts, and what comes after the best of them
    assert cells[0].epochs == 3 * 5 + 1
    assert "1 cell, at most 16 epochs." == plan_sentence(cells)


def test_seconds_by_the_pace_of_a_run(tmp_path: Path, records: dict[str, RunRecord]) -> None:
    history = records["seed-0_switch-2"].history
    pace = pace_of(history)
    assert pace[Inference.AMORTIZED] == pytest.approx(sum(done.seconds for done in history[:2]) / 2)
    cells = cells_of(small_plan(tmp_path, switch_at=[3]))
    expected = 3 * pace[Inference.AMORTIZED] + pace[Inference.DIRECT]
    assert seconds_of(cells, pace) == pytest.approx(expected)
    assert "at the pace of the shown run" in plan_sentence(cells, history)
    assert seconds_of(cells, {Inference.DIRECT: 1.0}) is None
