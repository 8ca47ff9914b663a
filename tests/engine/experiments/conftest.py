"""What the tests of experiments share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.records import RunRecord


@pytest.fixture
def records(finished_experiment: Path) -> dict[str, RunRecord]:
    """What the cells of the finished experiment have left, by name."""
    from napari_cryospin.engine.experiments.comparison import read_records

    found, notes = read_records([finished_experiment])
    assert not notes
    return {record.name: record for record in found}
