"""Plans as files: what they take, what they refuse, and that they come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.plan import Experiment, values_of
from small_experiments import small_plan

WHOLE = """
stack = ["a/particles.star", "/b/particles.star"]
truth_star = ["a/truth.star", "/b/truth.star"]
preset = "paper-synthetic"
seed = [0, 1]
switch_at = [1, 3, "auto", "never"]
[settings]
data.box = 32
model = {heads = [4, 7]}
"amortized.learning_rate_encoder" = 1e-3
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_is_read_with_its_files_beside_it(tmp_path: Path) -> None:
    plan = Experiment.from_toml(written(tmp_path, WHOLE))
    assert plan.stack == [tmp_path / "a/particles.star", Path("/b/particles.star")]
    assert plan.truth_star == [tmp_path / "a/truth.star", Path("/b/truth.star")]
    assert plan.preset == ["paper-synthetic"]
    assert plan.switch_at == [1, 3, "auto", "never"]
    assert plan.settings == {
        "data.box": [32],
        "model.heads": [4, 7],
        "amortized.learning_rate_encoder": [1e-3],
    }


def test_a_plan_is_written_as_it_is_read(tmp_path: Path) -> None:
    plan = Experiment.from_toml(written(tmp_path, WHOLE))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert Experiment.from_toml(written(elsewhere, plan.to_toml())) == plan


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "stack"),
        ("stack = []", "stack"),
        ('stack = "a"\nseeds = [1]', "seeds"),
        ('stack = "a"\nseed = ["x"]', "seed"),
        ('stack = "a"\nswitch_at = 0', "switch_at takes numbers of epochs from 1"),
        ('stack = "a"\nswitch_at = "sometimes"', "switch_at takes numbers of epochs from 1"),
        ('stack = "a"\nswitch_at = [1, 1]', "it names 1 twice"),
        ('stack = "a"\npreset = "no"', "there is no preset 'no'"),
        ('stack = "a"\ntruth_star = ["b", "c"]', "truth_star names 2 files for 1 stacks"),
        ('stack = "a"\ntruth_map = "b"', "name them by truth_star"),
        ('stack = "a"\n[settings]\nseed = 1', "seed stands before [settings]"),
        ('stack = "a"\n[settings]\ndata.box = []', "data.box has no value"),
        ('stack = "a"\n[settings]\ndata.box = [32, 32]', "data.box names a value twice"),
        ("stack = ", "is not a valid TOML file"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_sentence(change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        Experiment.from_toml(written(tmp_path, change))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value) and "plan.toml" in str(refused.value)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        Experiment.from_toml(tmp_path / "no.toml")


def test_what_is_told_once_needs_no_brackets(tmp_path: Path) -> None:
    alone, listed = (small_plan(tmp_path, seed=seed) for seed in (3, [3]))
    assert alone == listed


def test_values_are_what_they_look_like() -> None:
    assert values_of("1, 3,auto , 0.5,true, 1e-3,") == [1, 3, "auto", 0.5, True, 1e-3]
    assert values_of(" ") == []
    assert values_of('"gauss-newton"') == ["gauss-newton"]
