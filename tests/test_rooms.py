"""The house as it is drawn: no room too large, no file too long, and every door in one place."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import napari_cryospin

SOURCE = Path(napari_cryospin.__file__).parent
MOST_LINES = 400
# share of the engine that a room may have
MOST_OF_THE_ENGINE = 0.25
# what is called, and where alone it may be called
DOORS = {
    "inserter": {"engine/models/sums.py"},
    "insert_slices": {"engine/kernels/reference.py"},
    "grid_sample": {"engine/geometry/slices.py"},
    "MapUpdate": {"engine/models/map_updates.py", "engine/judging/symmetry_gain.py"},
    "MapUpdates": {
        "engine/inference/direct.py",
        "engine/inference/halves.py",
        "engine/inference/marginal.py",
        "engine/inference/winners_teacher.py",
    },
}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def called(tree: ast.AST) -> set[str]:
    """Names of all functions that are called."""
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        for function in functions
    }


def test_no_file_is_too_long() -> None:
    root = Path(__file__).parents[1]
    files = [
        path for part in ("src", "tests", "benchmarks") for path in (root / part).rglob("*.py")
    ]
    assert len(files) > 300
    assert [str(path) for path in files if lines(path) > MOST_LINES] == []


def test_no_room_is_too_large() -> None:
    rooms: Counter[str] = Counter()
    for path in (SOURCE / "engine").rglob("*.py"):
        rooms[path.relative_to(SOURCE / "engine").parts[0]] += lines(path)
    assert rooms.total() > 20_000
    (room, size), *_ = rooms.most_common(1)
    assert size < MOST_OF_THE_ENGINE * rooms.total(), room


def test_every_door_is_in_one_place() -> None:
    found: dict[str, set[str]] = {door: set() for door in DOORS}
    for path in SOURCE.rglob("*.py"):
        for door in called(ast.parse(path.read_text(encoding="utf-8"))) & DOORS.keys():
            found[door].add(path.relative_to(SOURCE).as_posix())
    assert found == DOORS
