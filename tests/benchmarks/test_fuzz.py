"""A slice of the campaign of mutated files; the whole one is run by `make test-slow`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def fuzzing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "fuzzing"]:
        del sys.modules[name]


@pytest.mark.usefixtures("fuzzing")
@pytest.mark.parametrize("name", ["star", "cs", "mrc", "map", "atoms", "toml"])
def test_mutated_files_are_read_or_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    from fuzzing.kinds import KINDS
    from fuzzing.trial import judge, make, seeds_of

    kind = KINDS[name]
    seeds = seeds_of(kind, tmp_path)
    assert seeds[0].is_relative_to(tmp_path)
    paths = (make(name, kind, seeds, 5, index) for index in range(60))
    outcomes = [judge(kind, path, index) for index, path in enumerate(paths)]
    assert [outcome for outcome in outcomes if not outcome.well] == []
    assert any(outcome.ending == "refused" for outcome in outcomes)


@pytest.mark.usefixtures("fuzzing")
def test_a_traceback_and_two_lines_are_told_apart_from_a_sentence(tmp_path: Path) -> None:
    from fuzzing.kinds import Kind
    from fuzzing.trial import judge

    from napari_cryospin.engine.errors import InputError

    def raising(error: Exception) -> Kind:
        def read(_: Path) -> None:
            raise error

        return Kind(lambda _: [], read)

    assert judge(raising(InputError("One sentence.")), tmp_path, 3).ending == "refused"
    assert not judge(raising(InputError("Two\nlines.")), tmp_path, 3).well
    assert "KeyError at test_fuzz.py" in judge(raising(KeyError("a")), tmp_path, 3).ending
    assert judge(Kind(lambda _: [], lambda _: None), tmp_path, 3).ending == "read"
