"""The stages of a run: how each gets its poses, how far in frequency it goes, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, field_validator
from pydantic_core import PydanticCustomError

from napari_cryospin.engine.registry import Inference as Inference

if TYPE_CHECKING:
    from collections.abc import Iterable

Inference.AMORTIZED = Inference.register(
    "amortized",
    label="auto-encoding",
    option="encode",
    code=0,
    candidates="each head's pose",
    made_by="napari_cryospin.engine.judging.switching:SwitchedEncoding",
    has_heads=True,
)
Inference.DIRECT = Inference.register(
    "direct",
    label="auto-decoding",
    option="decode",
    code=1,
    candidates="the hypotheses that are refined",
    made_by="napari_cryospin.engine.inference.halves:AutoDecoding",
    is_fine=True,
)
Inference.MARGINAL = Inference.register(
    "marginal",
    label="marginalisation",
    option="marginal",
    code=2,
    candidates="the modes that the stage found",
    made_by="napari_cryospin.engine.inference.marginal:MarginalInference",
)

MOST = 2**31 - 1
"""The largest whole number that a setting takes: that of the window's fields."""
Number = Annotated[int, Field(ge=0, le=MOST)]
Count = Annotated[int, Field(ge=1, le=MOST)]
Epochs = Annotated[int, Field(ge=0, le=MOST, description="Epochs, at most.")]
BatchSize = Annotated[int, Field(ge=1, le=MOST, description="Particles per batch.")]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
End = Literal["epochs", "criterion", "hand"]


class Section(BaseModel):
    """Base of all settings: unknown fields are refused, values are checked when they are set."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Stage(Section):
    """What all stages have; the settings of an inference's stage are a subclass.

    ``until`` names what ends a stage: "epochs" their number; "criterion" what the stage measures of
    itself, or the number of epochs, whichever comes first; "hand" the user alone, and if nobody
    does, the run ends after as many epochs as its stages have together.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    """Which of the settings of the model the inference heeds."""
    least_box: ClassVar[int] = 0
    """Working box, pixels, that it needs."""

    inference: Inference
    until: End = Field("epochs", description="What ends the stage: its epochs, its criterion, you.")
    epochs: Epochs
    low_pass_start: float | None = Field(
        None,
        gt=0,
        title="Low pass start (Å)",
        description="Low-pass filter at the stage's beginning, Å; by default none.",
    )
    low_pass_end: float | None = Field(
        None,
        gt=0,
        title="Low pass end (Å)",
        description="Low-pass filter at the stage's end, Å; by default none.",
    )
    batch_size: BatchSize

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        inference = cls.model_fields["inference"].default
        if inference is not None:
            inference.settings = cls

    @field_validator("inference")
    @classmethod
    def _own(cls, inference: Inference) -> Inference:
        if inference.settings is not cls:
            raise PydanticCustomError("inference", "it is that of other settings")
        return inference

    def heeds(self, name: str) -> bool:
        """Return whether it heeds a setting of the model."""
        return name in self.reads

    def summary(self) -> str:
        """Return what tells the stage apart, besides its inference and epochs, in a few words."""
        return ""

    @property
    def idle(self) -> frozenset[str]:
        """Names of the settings that change nothing, as the others are."""
        return frozenset()

    @property
    def finds_axes(self) -> bool:
        """Whether it turns its map to the axes of the symmetry when it ends."""
        return False


class AmortizedStage(Stage):
    """Auto-encoding: an encoder with several heads proposes poses, and learns by a teacher."""

    reads = frozenset(
        {
            *("encoder", "heads", "turns", "encoder_width"),
            *("shifts", "scales", "outliers", "classes", "symmetry", "loss"),
        }
    )
    least_box = 32

    inference: Inference = Inference.AMORTIZED
    teacher: Literal["likelihood", "posterior"] = Field(
        "likelihood",
        description="Who teaches the encoder: the likelihood of its best proposal (winner takes "
        "all), or samples of the particles' posteriors, which make the map.",
    )
    epochs: Epochs = 7
    batch_size: BatchSize = 64
    learning_rate_encoder: Rate = Field(1e-4, description="Learning rate of the encoder (Adam).")
    volume_update: Literal["adam", "closed form"] = Field(
        "adam",
        description="What the likelihood teaches: map and encoder take an Adam step on the errors "
        "of the best proposals, as in the paper; or the map is made of the best poses in closed "
        "form, and the encoder learns those poses.",
    )
    learning_rate_volume: Rate = Field(5e-3, description="Learning rate of the map (Adam).")
    guesses: Number = Field(
        0,
        description="Random poses that compete with the proposals of a batch, until the last "
        "frequencies are in use; with a map in closed form.",
    )
    passes: Count = Field(
        2, description="Passes of the encoder over a batch whose poses it learns."
    )
    lessons: Number = Field(
        300,
        description="Mini-batches that posteriors teach at the end of the stage, the encoder's "
        "rate falling to 0.",
    )

    def heeds(self, name: str) -> bool:
        """Return whether it heeds a setting of the model: each teacher has one of its own."""
        other = "loss" if self.teacher == "posterior" else "scales"
        closed = self.teacher == "posterior" or self.volume_update == "closed form"
        return super().heeds(name) and name != other and (closed or name != "symmetry")

    particles: Count | None = Field(
        10_000,
        title="Particles to learn from",
        description="Particles of a stack, drawn at random, that a posterior teaches by; the "
        "others are inferred when the stage ends.",
        json_schema_extra={"unset": "all"},
    )

    def summary(self) -> str:
        """Return who teaches the encoder."""
        return f"taught by {self.teacher}"

    @property
    def finds_axes(self) -> bool:
        """Whether it turns its map to the axes of the symmetry when it ends."""
        return self.teacher == "posterior"

    @property
    def idle(self) -> frozenset[str]:
        """Names of the settings of another way of teaching."""
        if self.teacher == "posterior":
            return frozenset({"volume_update", "learning_rate_volume", "guesses"})
        if self.volume_update == "closed form":
            return frozenset({"learning_rate_volume", "lessons", "particles"})
        return frozenset({"guesses", "passes", "lessons", "particles"})


class DirectStage(Stage):
    """Auto-decoding: the pose of each particle is optimised directly."""

    reads = frozenset({"shifts", "outliers", "classes", "symmetry", "halves", "loss"})

    inference: Inference = Inference.DIRECT
    epochs: Epochs = 13
    batch_size: BatchSize = 64
    pose_update: Literal["adam", "gauss-newton"] = Field(
        "adam",
        description="Steps of the poses by Adam, or by Gauss and Newton's equations, which need "
        "fewer and no rate.",
    )
    learning_rate_pose: Rate = Field(5e-2, description="Learning rate of the poses (Adam).")
    pose_steps: Count = Field(5, description="Pose steps per visit.")
    visit_rate: Share = Field(
        1.0, description="Share of the pose rate left at the last step of a visit (1: constant)."
    )
    volume_update: Literal["adam", "closed form"] = Field(
        "adam",
        description="The map by an Adam step after each batch, or in closed form after each epoch.",
    )
    learning_rate_volume: Rate = Field(2e-3, description="Learning rate of the map (Adam).")
    final_rate: Share = Field(
        1.0, description="Share of the learning rates left at the end (cosine decay; 1: constant)."
    )
    hypotheses: Annotated[int, Field(ge=1, le=16)] = Field(
        1, description="Poses of each particle that are all refined, the best one winning (K)."
    )
    searches: Number = Field(
        0,
        description="Searches over all poses, at most: the first one at the beginning, the others "
        "evenly spaced. Where the criterion ends the stage, they are made when poses have settled.",
    )
    searched: Literal["all", "doubtful"] = Field(
        "all",
        description="Particles of a search: all of them, or those whose candidates leave doubt.",
    )

    def heeds(self, name: str) -> bool:
        """Return whether it heeds a setting of the model: sums alone are symmetric, or halves."""
        of_sums = name in ("symmetry", "halves")
        return super().heeds(name) and (self.volume_update != "adam" or not of_sums)

    def summary(self) -> str:
        """Return the number of hypotheses where there are several."""
        return f"{self.hypotheses} hypotheses" if self.hypotheses > 1 else ""

    @property
    def idle(self) -> frozenset[str]:
        """Names of the rates of what does not go by steps of a rate."""
        of_poses = {"learning_rate_pose", "visit_rate"} if self.pose_update != "adam" else set()
        of_volume = {"learning_rate_volume"} if self.volume_update != "adam" else set()
        final = {"final_rate"} if of_poses and of_volume else set()
        return frozenset(of_poses | of_volume | final)


class MarginalStage(Stage):
    """Marginalisation: the map from the posteriors over all poses of a grid."""

    reads = frozenset({"shifts", "scales", "outliers", "classes", "symmetry"})

    inference: Inference = Inference.MARGINAL
    until: End = Field(
        "criterion", description="What ends the stage: its epochs, the end of the march, you."
    )
    epochs: Epochs = 40
    batch_size: BatchSize = Field(
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

    def summary(self) -> str:
        """Return how fine the finest grid is."""
        return f"nside {self.nside}"

    @property
    def idle(self) -> frozenset[str]:
        """Names of the settings of samples where there are none."""
        if self.quadrature != "exact":
            return frozenset()
        return frozenset({"sample_factor", "uniform_share", "temperature"})


def encodes(stages: Iterable[Stage]) -> bool:
    """Return whether any of some stages has an encoder: only an encoder has heads."""
    return any(stage.inference.has_heads for stage in stages)


def _stage_of(value: Any) -> Any:
    """Return a stage's settings from what a file or a preset tells of them."""
    if isinstance(value, Stage):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("stage", "a stage is a table of settings")
    try:
        inference = Inference(value.get("inference", ""))
    except ValueError as error:
        raise PydanticCustomError("inference", "{words}", {"words": str(error)}) from error
    return inference.settings.model_validate(value)


StageSettings = Annotated[SerializeAsAny[Stage], BeforeValidator(_stage_of)]
"""The settings of a stage, whose ``inference`` says of which type they are."""
