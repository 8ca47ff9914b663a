from __future__ import annotations

import pytest

from napari_cryospin.engine.errors import InputError, printable


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\0b", "a\x1b[2Jb", "a\udce4b", "a\u2028b"])
def test_a_sentence_stays_one_line_whatever_name_stands_in_it(name: str) -> None:
    text = str(InputError(f"The file {name} of 2 Å × 3 µm is missing."))
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    text.encode("utf-8")
    assert text.startswith("The file a")
    assert text.endswith("b of 2 Å × 3 µm is missing.")


def test_plain_text_stays_as_it_is() -> None:
    assert printable("Größe: 3 Å, “2 × 4”") == "Größe: 3 Å, “2 × 4”"
