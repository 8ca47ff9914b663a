"""A slice of the campaign of mutated files; the whole one is run by `make test-slow`."""

from __future__ import annotations

import mmap
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
def test_a_traceback_and_silence_are_told_apart_from_a_sentence(tmp_path: Path) -> None:
    from fuzzing.kinds import Kind
    from fuzzing.trial import judge

    from napari_cryospin.engine.errors import InputError

    def raising(error: Exception) -> Kind:
        def read(_: Path) -> None:
            raise error

        return Kind(lambda _: [], read)

    assert judge(raising(InputError("One sentence.")), tmp_path, 3).ending == "refused"
    assert not judge(raising(InputError("")), tmp_path, 3).well
    assert "KeyError at test_fuzz.py" in judge(raising(KeyError("a")), tmp_path, 3).ending
    assert judge(Kind(lambda _: [], lambda _: None), tmp_path, 3).ending == "read"


@pytest.mark.usefixtures("fuzzing")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told on Linux")
def test_memory_and_time_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fuzzing import trial
    from fuzzing.kinds import Kind

    def fill(_: object) -> None:
        # pages of its own: an array may find room in what tests before it have freed
        pages = mmap.mmap(-1, 48 * 2**20)
        pages[:: mmap.PAGESIZE] = b"1" * (len(pages) // mmap.PAGESIZE)

    monkeypatch.setattr(trial, "MOST_GROWTH", 20 * 2**20)
    heavy = Kind(lambda _: [], fill)
    assert trial.judge(heavy, tmp_path, 3).ending.endswith(" MiB")
    monkeypatch.setattr(trial, "MOST_SECONDS", -1.0)
    assert trial.judge(Kind(lambda _: [], lambda _: None), tmp_path, 3).ending.endswith(" s")


@pytest.mark.usefixtures("fuzzing")
def test_a_process_that_ends_is_told_and_the_next_file_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fuzzing import batch

    script = (
        "import sys, json; first, last = map(int, sys.argv[-2:])\n"
        "for i in range(first, last):\n"
        "    print(json.dumps({'index': i}), flush=True)\n"
        "    if i == 1: sys.exit(3)\n"
        "    print(json.dumps({'index': i, 'ending': 'read'}), flush=True)\n"
    )
    real = batch.subprocess.Popen

    def started(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", script, *command[-2:]], **options)

    monkeypatch.setattr(batch.subprocess, "Popen", started)
    found = list(batch.outcomes("star", 0, 4))
    assert [outcome.index for outcome in found] == [0, 1, 2, 3]
    assert [outcome.well for outcome in found] == [True, False, True, True]
    assert "code 3" in found[1].ending
