"""The registry of inferences: the ways to get poses that there are, by the name that files have.

Another one is a module with three things: its name, registered here; the settings of its stage, a
:class:`~napari_cryospin.engine.stages.Stage`, whose definition makes them known; and the class that
computes, a :class:`~napari_cryospin.engine.inference.interface.PoseInference`. Forms, options,
files, the estimate of memory, the loop and its events then know it.

The command line and the window ask for names long before anything is computed: the class that
computes is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic_core import core_schema

if TYPE_CHECKING:
    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.stages import Stage


class Inference(str):
    """The name of a way to get poses, with what is known of it before it computes.

    There is one object of each name: ``Inference("direct")`` returns it, or raises ValueError.

    Attributes
    ----------
    label
        The name for people: cryoSPIN's own where it has one.
    option
        The word by which options name it: ``--epochs-encode``.
    code
        Its number in the records of poses; it must stay what it is.
    candidates
        What the candidates of a particle are, in words.
    has_heads
        Whether the candidates are those of an encoder's heads.
    is_fine
        Whether its poses are as fine as the particles tell them, neither those of a grid nor those
        of an encoder.
    settings
        The type of its stage's settings.
    """

    AMORTIZED: ClassVar[Inference]
    DIRECT: ClassVar[Inference]
    MARGINAL: ClassVar[Inference]

    _registered: ClassVar[dict[str, Inference]] = {}

    label: str
    option: str
    code: int
    candidates: str
    has_heads: bool
    is_fine: bool
    settings: type[Stage]
    _made_by: str

    def __new__(cls, name: str) -> Self:
        """Return the one with a name."""
        known = cls._registered.get(name) if isinstance(name, str) else None
        if known is None:
            names = ", ".join(cls._registered)
            raise ValueError(f"there is no inference {name!r}: choose one of {names}")
        assert isinstance(known, cls)
        return known

    @classmethod
    def register(
        cls,
        name: str,
        *,
        label: str,
        option: str,
        code: int,
        candidates: str,
        made_by: str,
        has_heads: bool = False,
        is_fine: bool = False,
    ) -> Inference:
        """Make a name known, and return it.

        Parameters
        ----------
        name
            As files have it.
        made_by
            Where the class that computes stands: "module:class".
        label, option, code, candidates, has_heads, is_fine
            See the class.

        Raises
        ------
        ValueError
            If the name, or something else that tells it apart, is that of another one.
        """
        for other in cls._registered.values():
            if name == other or option == other.option or code == other.code:
                raise ValueError(f"'{name}' cannot be registered beside '{other}'")
        made = str.__new__(cls, name)
        made.label, made.option, made.code, made.candidates = label, option, code, candidates
        made.has_heads, made.is_fine, made._made_by = has_heads, is_fine, made_by
        cls._registered[name] = made
        return made

    @classmethod
    def registered(cls) -> tuple[Inference, ...]:
        """Return all that there are."""
        return tuple(cls._registered.values())

    @classmethod
    def of_code(cls, code: int) -> Inference:
        """Return the one with a number in the records of poses; ValueError where there is none."""
        for known in cls._registered.values():
            if known.code == code:
                return known
        raise ValueError(f"there is no inference with number {code}")

    def stage(self) -> Stage:
        """Return the settings of a stage as they are by default."""
        return self.settings.model_validate({})

    def implementation(self) -> type[PoseInference]:
        """Return the class that computes; with it comes torch."""
        module, _, name = self._made_by.partition(":")
        made: type[PoseInference] = getattr(import_module(module), name)
        return made

    def __deepcopy__(self, _memo: object) -> Inference:
        return self

    def __copy__(self) -> Inference:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Inference, (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        """Files have the name alone."""
        return core_schema.no_info_plain_validator_function(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )
