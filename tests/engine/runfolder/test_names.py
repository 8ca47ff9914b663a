"""The names of a run's files: typed in one place, and what they tell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import napari_cryospin
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.runfolder.reading import numbered

SOURCE = Path(napari_cryospin.__file__).parent
# a simulated stack has a table of that name too, and is no run
DECLARED = {"engine/runfolder/names.py", "engine/data/simulated_names.py"}
FILES = {*names.BEGINNING, *names.RESULTS, *names.MORE_RESULTS, names.FULL_SIZE_MAP}
# words that mean other things too: they are names where they make a path
WORDS = {*names.PARTS, names.LOCK}
EPOCH = re.compile(rf"\bepoch_(?![a-z])|^({'|'.join(names.PARTS)})/")
# a module that mentions none need not be parsed
MENTIONED = re.compile(
    "|".join([*map(re.escape, FILES), rf"\bepoch_(?![a-z])|[\"']({'|'.join(WORDS)})\b"])
)
ENDINGS = tuple(f"{before}{name}" for name in FILES for before in "/_")
JOINING = {"joinpath", "with_name", "Path"}


def joined(node: ast.AST) -> list[ast.AST]:
    """What a node joins to a path: ``folder / "poses"``, ``folder.joinpath("poses")``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [node.left, node.right]
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return list(node.args) if called in JOINING else []
    return []


def is_name(text: str) -> bool:
    """Whether a literal is a file's name, alone or as the end of a path or of a longer name."""
    return text in FILES or text.endswith(ENDINGS) or EPOCH.search(text) is not None


def retyped(text: str) -> list[tuple[int, str]]:
    """Line and literal of each name that a module types itself; what docstrings say is none."""
    if not MENTIONED.search(text):
        return []
    found = []
    said: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        # found before what is within it
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said.add(id(node.value))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            found += [(node.lineno, node.value)] if is_name(node.value) else []
        for part in joined(node):
            if isinstance(part, ast.Constant) and part.value in WORDS:
                found.append((part.lineno, part.value))
    return found


def test_no_name_is_typed_anywhere_else() -> None:
    modules = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    assert modules.keys() >= DECLARED
    found = {
        name: retyped(path.read_text(encoding="utf-8"))
        for name, path in modules.items()
        if name not in DECLARED
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        'run / "map.mrc"',
        'NAME = "events.jsonl"',
        'run / "set_aside.csv"',
        'f"volumes/{name}"',
        'write("volumes/map.mrc")',
        'f"{stem}_map.mrc"',
        'run / "poses"',
        'Path("checkpoints")',
        'f"epoch_{epoch:04d}.npy"',
        'place.glob("epoch_*.mrc")',
    ],
)
def test_a_name_that_is_typed_is_found(code: str) -> None:
    assert retyped(code)


def test_keys_and_sentences_are_no_names() -> None:
    assert not retyped('state["poses"], "look at its events.jsonl.", "stage_epoch", "clock"')


def test_epochs_are_told_by_their_names(tmp_path: Path) -> None:
    assert names.of_epoch(7, ".npy") == "epoch_0007.npy"
    assert names.epoch_of("epoch_12345.npy", ".npy") == 12345
    part = tmp_path / names.POSES
    (part / "epoch_0003.npy").mkdir(parents=True)
    for name in ("epoch_0010.npy", "epoch_0002.npy", "epoch_00004.npy", "epoch_5.npy"):
        (part / name).touch()
    for name in ("epoch_0001.mrc", "epoch_0001.npy.npy", "epoch_0001", ".epoch_0006.npy"):
        (part / name).touch()
    found = [(epoch, path.name) for epoch, path in numbered(tmp_path, names.POSES)]
    assert found == [(2, "epoch_0002.npy"), (10, "epoch_0010.npy")]
    assert numbered(tmp_path / "absent", names.POSES) == []
