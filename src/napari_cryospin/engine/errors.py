"""The one exception that is meant to be read by the user."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text on one line, as any terminal and file can take it.

    Names of files may hold line ends, control characters, or bytes that are no text.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in " ".join(text.splitlines()))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class InputError(Exception):
    """Input that the program cannot use.

    The message is one clear sentence: what is wrong, in which file or field, what to do.
    The command line prints it and ends with exit code 2; the dock shows it.
    """

    def __str__(self) -> str:
        """Return the sentence, on one line."""
        return printable(super().__str__())
