"""Damaged files of a run folder, a few of them here and thousands in `make test-slow`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "darwin", reason="this system does not fork safely"
)


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The campaign among the benchmarks."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    return __import__("fuzz_runs")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("number", "seed"), [(4, 1), pytest.param(5000, 2, marks=pytest.mark.slow_campaign)]
)
def test_every_damaged_file_is_read_or_refused(
    fuzz: ModuleType, number: int, seed: int, tmp_path: Path
) -> None:
    tried, wrong = fuzz.campaign(tmp_path, number, seed)
    assert sum(tried.values()) == number
    assert not wrong, sorted((tmp_path / "found").glob("*.txt"))


def test_the_campaign_sees_what_ends_badly(fuzz: ModuleType) -> None:
    def fails() -> None:
        raise KeyError("loss")

    def hangs() -> None:
        while True:
            pass

    assert fuzz.in_child(lambda: None) == ""
    assert fuzz.where(fuzz.in_child(fails)).startswith("KeyError-at")
    assert "KeyError" in fuzz.in_child(fails)
    fuzz._MOST_SECONDS = 1
    assert "killed by signal" in fuzz.in_child(hangs)
