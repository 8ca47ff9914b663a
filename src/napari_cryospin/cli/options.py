"""The options of a command that are settings: type, range and words are those of the settings."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_cryospin.engine.flags import flags, opposite
from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari_cryospin.engine.setting_fields import SettingField


def with_settings(
    command: Callable[..., None], only: Collection[str] | None = None
) -> Callable[..., None]:
    """Give a command, which takes ``**settings``, an option for each setting that has one.

    What is out of range is refused with the settings, in one sentence. ``only`` names the settings
    that the command heeds; by default all of them.
    """
    signature = inspect.signature(command, eval_str=True)
    fixed = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            _name(flag),
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(setting_field(where), flag),
        )
        for where, flag in flags().items()
        if only is None or where in only
    ]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*fixed, *options)]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return what options say, by the dotted names of the settings; files by their full names."""
    by_name = {_name(flag): where for where, flag in flags().items()}
    return {by_name[name]: _plain(value) for name, value in options.items() if value is not None}


def help_of(field: SettingField) -> str:
    """Return the words of an option: what the setting is, and its range."""
    words, section = field.description, field.where.partition(".")[0]
    if section in Inference.registered():
        first = f"{Inference(section).label.capitalize()}, first stage"
        words = f"{first}: {words[:1].lower()}{words[1:]}"
    return f"{words} ({field.range})" if field.range else words


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.absolute()
    return value.value if isinstance(value, StrEnum) else value


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _one_of(choices: list[str]) -> Any:
    return StrEnum("Choice", [(each.upper(), each) for each in choices])


def _annotation(field: SettingField, flag: str) -> Any:
    """Return the annotation of an option, as typer reads it."""
    words = f"{flag}/{opposite(flag)}" if field.type is bool else flag
    kind: Any = field.type
    # what is only usual may be another: cuda:1
    if field.choices and not field.usual:
        kind = _one_of([str(each) for each in field.choices])
    return Annotated[kind | None, typer.Option(words, help=help_of(field))]
