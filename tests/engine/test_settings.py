from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.settings import Settings, first_problem
from napari_cryospin.engine.stages import DirectStage, Inference

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_a_file(name: str, tmp_path: Path) -> None:
    settings = Settings.from_preset(name)
    path = tmp_path / "settings.toml"
    path.write_text(settings.to_toml(), encoding="utf-8")
    assert Settings.from_toml(path) == settings


def test_the_papers_figures() -> None:
    synthetic = Settings.from_preset("paper-synthetic")
    experimental = Settings.from_preset("paper-experimental")
    for paper in (synthetic, experimental):
        assert paper.data.box == 128
        encode, decode = paper.stages
        assert (encode.inference, decode.inference) == (Inference.AMORTIZED, Inference.DIRECT)
        assert (encode.batch_size, decode.batch_size) == (64, 64)
        assert encode.learning_rate_encoder == 1e-4
        assert encode.learning_rate_volume == 5e-3
        assert decode.learning_rate_volume == 2e-3
        assert decode.learning_rate_pose == 5e-2
        assert decode.pose_steps == 5
        assert decode.final_rate == 1
        assert (decode.searches, decode.hypotheses) == (0, 1)
        assert decode.volume_update == "adam"
        assert paper.starts == 1
    assert (synthetic.model.heads, experimental.model.heads) == (7, 15)
    assert [stage.epochs for stage in synthetic.stages] == [7, 13]
    assert [stage.epochs for stage in experimental.stages] == [15, 15]
    assert experimental.model.shifts


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match="no preset 'fast'"):
        Settings.from_preset("fast")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[model]\nheads = 0", "model.heads"),
        ("[model]\nhats = 3", "model.hats"),
        ("box = ", "TOML"),
        ("[[stages]]\ninference = 'guessed'", "stages.0"),
        ("[[stages]]\ninference = 'direct'\nheads = 3", "heads"),
        ("stages = []", "stages"),
    ],
)
def test_damaged_settings_are_one_sentence(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        Settings.from_toml(path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_assignments_are_validated() -> None:
    settings = Settings()
    with pytest.raises(ValidationError) as caught:
        settings.model.heads = -1
    assert "heads" in first_problem(caught.value)


def test_settings_are_found_by_their_dotted_names() -> None:
    settings = Settings.from_preset("cryospin")
    settings.set("amortized.epochs", 3)
    settings.set("stages.1.hypotheses", 2)
    settings.set("data.box", 48)
    assert settings.stages[0].epochs == settings.get("amortized.epochs") == 3
    assert settings.first(Inference.DIRECT).hypotheses == settings.get("direct.hypotheses") == 2
    assert settings.data.box == 48
    with pytest.raises(InputError, match="'epochs'"):
        settings.set("amortized.epochs", -1)
    with pytest.raises(InputError, match="no stage of auto-encoding"):
        Settings.from_preset("marginal").get("amortized.epochs")


def test_a_run_never_changes_the_default_stages() -> None:
    Settings().stages[0].epochs = 1
    Settings().stages.append(DirectStage())
    assert Settings() == Settings.from_preset("default")


@pytest.mark.parametrize(
    "text", ["seed = " + "9" * 5000, "seed = " + "[" * 5000, "seed = 2026-99-99", "seed = inf"]
)
def test_values_that_no_setting_can_have_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"settings\.toml"):
        Settings.from_toml(path)


def test_a_name_that_the_file_cannot_tell_is_refused_at_once(tmp_path: Path) -> None:
    settings = Settings()
    for name in ("stack", "passthrough", "datadir", "truth_star", "truth_map"):
        with pytest.raises(InputError, match=f"'{name}' is not usable.*no UTF-8; rename it"):
            settings.set(f"data.{name}", tmp_path / "caf\udce9")
    settings.to_toml().encode()


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Names of sections and of stages' settings stay; their order does not matter."""
    path = tmp_path / "settings.toml"
    path.write_text(
        """
preset = "cryospin"
seed = 3
starts = 1
[data]
box = 48
[model]
heads = 5
encoder_width = 8
shifts = false
scales = true
loss = "absolute"
[[stages]]
until = "epochs"
low_pass_end = 12.0
inference = "amortized"
epochs = 3
batch_size = 64
learning_rate_encoder = 0.001
learning_rate_volume = 0.02
[[stages]]
until = "criterion"
inference = "marginal"
epochs = 40
nside = 8
[[stages]]
until = "hand"
inference = "direct"
hypotheses = 3
""",
        encoding="utf-8",
    )
    settings = Settings.from_toml(path)
    assert (settings.model.heads, settings.model.loss, settings.data.box) == (5, "absolute", 48)
    kinds = [(one.inference, one.until, one.epochs) for one in settings.stages]
    assert kinds == [
        (Inference.AMORTIZED, "epochs", 3),
        (Inference.MARGINAL, "criterion", 40),
        (Inference.DIRECT, "hand", 13),
    ]
    assert settings.get("amortized.low_pass_end") == 12
    assert (settings.get("marginal.nside"), settings.get("direct.hypotheses")) == (8, 3)


def test_a_stage_keeps_to_its_inference() -> None:
    stage = DirectStage()
    with pytest.raises(ValidationError, match="other settings"):
        stage.inference = Inference.MARGINAL
    with pytest.raises(ValidationError, match="no inference 'guessed': choose one of amortized"):
        Settings.model_validate({"stages": [{"inference": "guessed"}]})


@pytest.mark.parametrize("where", ["stages.9.epochs", "nothing.box", "seed.0.x", "data.colour"])
def test_a_setting_that_is_none_is_named(where: str) -> None:
    with pytest.raises(InputError, match=r"^There is no setting|colour"):
        Settings.from_preset("default").set(where, 3)
