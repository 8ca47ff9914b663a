"""The stages of a run: how each gets its poses, how far in frequency it goes, and what ends it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable


class Inference(StrEnum):
    """The three ways to get poses."""

    AMORTIZED = "amortized"
    DIRECT = "direct"
    MARGINAL = "marginal"

    @property
    def label(self) -> str:
        """The name for people: cryoSPIN's own where it has one."""
        return _LABELS[self]


_LABELS = {
    Inference.AMORTIZED: "auto-encoding",
    Inference.DIRECT: "auto-decoding",
    Inference.MARGINAL: "marginalisation",
}


class Section(BaseModel):
    """Base of all settings: unknown fields are refused, values are checked when they are set."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class _Stage(Section):
    """What all stages have.

    ``until`` names what ends a stage: "epochs" their number; "criterion" what the stage measures of
    itself, or the number of epochs, whichever comes first; "hand" the user alone, and if nobody
    does, the run ends after as many epochs as its stages have together.
    """

    until: Literal["epochs", "criterion", "hand"] = Field(
        "epochs", description="What ends the stage: its epochs, its own criterion, or you."
    )
    low_pass_start: float | None = Field(
        None, gt=0, description="Low-pass filter at the stage's beginning, Å; by default none."
    )
    low_pass_end: float | None = Field(
        None, gt=0, description="Low-pass filter at the stage's end, Å; by default none."
    )


class AmortizedStage(_Stage):
    """Auto-encoding: an encoder with several heads proposes poses, the best one wins."""

    inference: Literal[Inference.AMORTIZED] = Inference.AMORTIZED
    epochs: Annotated[int, Field(ge=0)] = Field(7, description="Epochs, at most.")
    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Particles per batch.")
    learning_rate_encoder: Annotated[float, Field(gt=0)] = Field(
        1e-4, description="Learning rate of the encoder (Adam)."
    )
    learning_rate_volume: Annotated[float, Field(gt=0)] = Field(
        5e-3, description="Learning rate of the map (Adam)."
    )


class DirectStage(_Stage):
    """Auto-decoding: the pose of each particle is optimised directly."""

    inference: Literal[Inference.DIRECT] = Inference.DIRECT
    epochs: Annotated[int, Field(ge=0)] = Field(13, description="Epochs, at most.")
    batch_size: Annotated[int, Field(ge=1)] = Field(64, description="Particles per batch.")
    pose_update: Literal["adam", "gauss-newton"] = Field(
        "adam",
        description="Steps of the poses by Adam, or by Gauss and Newton's equations, which need "
        "fewer and no rate.",
    )
    learning_rate_pose: Annotated[float, Field(gt=0)] = Field(
        5e-2, description="Learning rate of the poses (Adam)."
    )
    pose_steps: Annotated[int, Field(ge=1)] = Field(5, description="Pose steps per visit.")
    visit_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Share of the pose rate left at the last step of a visit (1: constant)."
    )
    volume_update: Literal["adam", "closed form"] = Field(
        "adam",
        description="The map by an Adam step after each batch, or in closed form after each epoch.",
    )
    learning_rate_volume: Annotated[float, Field(gt=0)] = Field(
        2e-3, description="Learning rate of the map (Adam)."
    )
    final_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Share of the learning rates left at the end (cosine decay; 1: constant)."
    )
    hypotheses: Annotated[int, Field(ge=1, le=16)] = Field(
        1, description="Poses of each particle that are all refined, the best one winning (K)."
    )
    searches: Annotated[int, Field(ge=0)] = Field(
        0, description="Searches of all poses, evenly spaced; the first one at the beginning."
    )


class MarginalStage(_Stage):
    """Marginalisation: the map from the posteriors over all poses of a grid."""

    inference: Literal[Inference.MARGINAL] = Inference.MARGINAL
    until: Literal["epochs", "criterion", "hand"] = Field(
        "criterion", description="What ends the stage: its epochs, the end of the march, or you."
    )
    epochs: Annotated[int, Field(ge=0)] = Field(40, description="Epochs, at most.")
    batch_size: Annotated[int, Field(ge=1)] = Field(
        500, description="Particles per batch; the map is made anew after each."
    )
    memory: Annotated[float, Field(ge=1)] = Field(
        2.0, description="Batches that the map remembers."
    )
    nside: Literal[2, 4, 8, 16] = Field(
        4, description="HEALPix nside of the finest pose grid; it resolves a radius of 2 nside."
    )
    quadrature: Literal["auto", "exact", "importance"] = Field(
        "auto", description="Sum over all poses, or over samples of those that matter."
    )
    sample_factor: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Samples per effective sample of the previous posterior (s₀)."
    )
    uniform_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="Share of the samples drawn from all poses (α)."
    )
    temperature: Annotated[float, Field(ge=1)] = Field(
        8.0, description="Flattens the previous posterior before sampling (T)."
    )
    map_update: Literal["closed form", "gradient"] = Field(
        "closed form", description="Solve for the map, or take a gradient step."
    )
    prior: Literal["shells", "non-negative", "none"] = Field(
        "shells", description="Prior of the map: Gaussian by shell, densities of at least 0, none."
    )


def encodes(stages: Iterable[_Stage]) -> bool:
    """Return whether any of some stages is auto-encoding: only an encoder has heads."""
    return any(isinstance(stage, AmortizedStage) for stage in stages)


StageSettings = Annotated[
    AmortizedStage | DirectStage | MarginalStage, Field(discriminator="inference")
]
