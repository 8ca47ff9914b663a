"""What a setting takes, read from the settings' models: the one source of options and forms."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import MOST, Inference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel


@dataclass(frozen=True)
class SettingField:
    """A setting, and what it takes.

    Parameters
    ----------
    where
        Its dotted name, as for :meth:`.settings.Settings.get`.
    title, description
        Its name in a form, and what it is.
    type
        Type of its values.
    optional
        Whether it can be left open; ``unset`` says in a word what that means.
    choices
        The values that it takes; empty where they cannot be counted.
    usual
        Whether the choices are only the usual ones.
    low, high
        Its range; None where there is no limit.
    low_excluded, high_excluded
        Whether the limit itself is out of range.
    multiple_of
        What it is a multiple of, where it is.
    step
        By how much a form changes it; None leaves that to the form.
    """

    where: str
    title: str
    description: str
    type: type
    optional: bool = False
    unset: str = "none"
    choices: tuple[Any, ...] = ()
    usual: bool = False
    low: float | None = None
    high: float | None = None
    low_excluded: bool = False
    high_excluded: bool = False
    multiple_of: int | None = None
    step: float | None = None

    @property
    def range(self) -> str:
        """The range in words; empty where there is none."""
        low, high = self.low, None if self.high == MOST else self.high
        parts = []
        if low is not None and high is not None and not (self.low_excluded or self.high_excluded):
            parts.append(f"{low:g} to {high:g}")
        else:
            if low is not None:
                parts.append(f"{'above' if self.low_excluded else 'at least'} {low:g}")
            if high is not None:
                parts.append(f"{'below' if self.high_excluded else 'at most'} {high:g}")
        if self.multiple_of is not None:
            parts.append(f"a multiple of {self.multiple_of}")
        return ", ".join(parts)


def setting_field(where: str) -> SettingField:
    """Return a setting by its dotted name, such as "data.box" or "direct.epochs".

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    *path, name = where.split(".")
    model: Any = Settings
    for part in path:
        inference = part in Inference.registered()
        model = Inference(part).settings if inference else model.model_fields[part].annotation
    return field_of(model, name, where)


def field_of(model: type[BaseModel], name: str, where: str = "") -> SettingField:
    """Return a setting of a model by its name."""
    info = model.model_fields[name]
    kind, optional, constraints = _unwrapped(info.annotation, info.metadata)
    choices = tuple(info.examples or ())
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        kind = type(choices[0])
    extra = info.json_schema_extra
    more: dict[str, Any] = dict(extra) if isinstance(extra, dict) else {}
    return SettingField(
        where=where or name,
        title=info.title or name.replace("_", " ").capitalize(),
        description=info.description or "",
        type=kind,
        optional=optional,
        choices=choices,
        usual=bool(info.examples),
        **_limits(constraints),
        **more,
    )


def _limits(constraints: Iterable[Any]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for each in constraints:
        for name, limit, excluded in (
            ("ge", "low", False),
            ("gt", "low", True),
            ("le", "high", False),
            ("lt", "high", True),
        ):
            if hasattr(each, name):
                limits[limit], limits[f"{limit}_excluded"] = getattr(each, name), excluded
        if hasattr(each, "multiple_of"):
            limits["multiple_of"] = each.multiple_of
    return limits


def _unwrapped(annotation: Any, metadata: Iterable[Any]) -> tuple[Any, bool, list[Any]]:
    """Return the type of a field's values, whether it can be None, and what constrains them."""
    optional, constraints = False, list(metadata)
    while get_origin(annotation) in (Union, UnionType, Annotated):
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            constraints += [
                part for each in more for part in getattr(each, "metadata", None) or [each]
            ]
        else:
            optional = optional or NoneType in get_args(annotation)
            (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    return annotation, optional, constraints
