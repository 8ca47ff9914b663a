"""Inferences in a registry: another one needs a module and its registration, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import napari_cryospin
from napari_cryospin.engine import events
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.interface import PoseInference
from napari_cryospin.engine.run.memory_estimate import estimate_memory
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.records import read_poses
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import DirectStage, Inference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cryospin.engine.stages import Stage

SOURCE = Path(napari_cryospin.__file__).parent
# in these a concrete inference may be asked for: its own module, and where it is registered
OWN = ("engine/stages.py", "engine/registry.py", "engine/inference/marginal.py")


def test_another_inference_runs_and_is_told_of(
    guessed: type[Stage], tiny_settings: Settings, tmp_path: Path, small_searches: None
) -> None:
    folder = RunFolder(tmp_path / "run")
    tiny_settings.stages = [guessed(), DirectStage(epochs=1, pose_steps=1)]
    story = list(Reconstruction(tiny_settings, folder.path).run())
    assert isinstance(story[-1], events.Finished), story[-1]
    done = [event for event in story if isinstance(event, events.EpochDone)]
    assert [one.inference.label for one in done] == ["guessing"] * 2 + ["auto-decoding"]
    assert [one.held_out_gain for one in done] == [40.0, 80.0, None]
    batches = [event for event in story if isinstance(event, events.BatchDone)]
    assert [(one.batch, one.n_batches) for one in batches[:2]] == [(1, 2), (2, 2)]
    # it is read again: from settings, records and figures
    assert folder.settings() == tiny_settings
    first = read_poses(folder, 0)
    assert first.inference is Inference("guessed")
    assert angular_distance(torch.from_numpy(first.rotations[:1]), torch.eye(3)) == pytest.approx(
        90, abs=0.1
    )
    assert folder.metrics()[0]["inference"] == "guessed"


def test_another_inference_is_in_files_and_in_the_estimate_of_memory(
    guessed: type[Stage],
) -> None:
    settings = Settings.model_validate({"stages": [{"inference": "guessed", "epochs": 3}]})
    assert settings.get("guessed.epochs") == 3
    small = estimate_memory(settings, 100, 32, 4.0, torch.device("cpu"))
    settings.set("guessed.batch_size", 3000)
    large = estimate_memory(settings, 100, 32, 4.0, torch.device("cpu"))
    assert large.host > 3e10 > 1e10 > small.host
    assert Inference("guessed").settings is guessed


def test_an_inference_is_registered_once() -> None:
    known = {"label": "x", "candidates": "x", "made_by": "x:X"}
    before = Inference.registered()
    for name, option, code in (("direct", "x", 9), ("x", "decode", 9), ("x", "x", 1)):
        with pytest.raises(ValueError, match="beside 'direct'"):
            Inference.register(name, option=option, code=code, **known)
    assert Inference.registered() == before


def test_names_are_one_object_wherever_they_come_from() -> None:
    from copy import deepcopy
    from pickle import dumps, loads

    direct = Inference.DIRECT
    assert direct is Inference("direct") is deepcopy(direct) is loads(dumps(direct))
    assert (direct, str(direct), f"{direct}") == ("direct",) * 3
    assert Settings.from_preset("cryospin").stages[-1].inference is direct
    with pytest.raises(ValueError, match="choose one of amortized, direct, marginal"):
        Inference("guessed")


def test_numbers_in_records_stay_what_they_are() -> None:
    codes = {str(one): one.code for one in Inference.registered()}
    assert codes == {"amortized": 0, "direct": 1, "marginal": 2}


def test_every_registered_inference_can_be_made() -> None:
    for inference in Inference.registered():
        assert inference.implementation().kind is inference
        assert inference.stage().inference is inference


def test_concrete_inferences_are_asked_for_nowhere_else() -> None:
    """No name of one, of its settings or of its kind stands outside its own module."""
    concrete = {one.settings.__name__ for one in Inference.registered()}
    concrete |= {each.__name__ for one in Inference.registered() for each in _made_by(one)}
    texts = {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
    }
    found = [
        f"{name}:{line}"
        for name, text in sorted(texts.items())
        if name not in OWN
        for line in _asks(text, concrete)
    ]
    assert not found
    # what would be found
    asked = ("isinstance(x, (A, DirectStage))", "x is Inference.DIRECT", "{Inference.MARGINAL: 1}")
    for each in asked:
        assert list(_asks(each, concrete)) == [1], each


def _made_by(inference: Inference) -> list[type]:
    chain = inference.implementation().__mro__
    return [each for each in chain if issubclass(each, PoseInference) and each is not PoseInference]


def _asks(text: str, concrete: set[str]) -> Iterator[int]:
    """Yield the lines that ask whether something is a certain inference or of its settings."""
    if not any(name in text for name in (*concrete, "Inference.")):
        return
    tree = ast.parse(text)
    kinds = {name.upper() for name in Inference.registered()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "isinstance",
            "issubclass",
        ):
            asked = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            if asked & concrete:
                yield node.lineno
        elif isinstance(node, ast.MatchClass) and getattr(node.cls, "id", "") in concrete:
            yield node.lineno
        elif isinstance(node, ast.Compare | ast.Dict | ast.Set | ast.MatchValue):
            named = [
                each
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute)
                and each.attr in kinds
                and getattr(each.value, "id", "") == "Inference"
            ]
            if named:
                yield node.lineno
