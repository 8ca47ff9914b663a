from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.star_text import Block, read_text, text_of
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LOOP = "data_particles\n\nloop_\n_a #1\n_b #2\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(folder: Path, text: str | bytes) -> list[list[str]]:
    return [list(row) for row in read_text(write(folder, text))["particles"].rows]


def test_values_stay_the_texts_that_they_are(tmp_path: Path) -> None:
    text = LOOP + "0001.50 1e5\n  00  'two words' # a comment\n\"\" it's#1\n"
    assert rows(tmp_path, text) == [["0001.50", "1e5"], ["00", "two words"], ["", "it's#1"]]


def test_blocks_that_are_no_loops_have_one_row(tmp_path: Path) -> None:
    block = read_text(write(tmp_path, "data_general\n_a 1\n_b  'x y'\n\n" + LOOP))["general"]
    assert (block.columns, block.rows, block.loop) == (["a", "b"], [("1", "x y")], False)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_comments_and_line_ends_are_free(tmp_path: Path, end: str) -> None:
    text = "\ufeff# version 50001\n" + LOOP + "\n1 2\n\n# between\n3 4\n\n"
    assert rows(tmp_path, text.replace("\n", end)) == [["1", "2"], ["3", "4"]]


def test_texts_that_are_not_utf_8_are_latin_1(tmp_path: Path) -> None:
    assert rows(tmp_path, LOOP.encode() + b"\xe4 \xc3\xa4\n") == [["\xe4", "\xc3\xa4"]]


def test_a_row_may_begin_like_a_block(tmp_path: Path) -> None:
    text = LOOP + "data_1/a.mrcs 2\n\ndata_other\n_a 1\n"
    blocks = read_text(write(tmp_path, text))
    assert list(blocks) == ["particles", "other"]
    assert blocks["particles"].rows == [("data_1/a.mrcs", "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no data block"),
        ("abc\n", "no data block"),
        (b"\0\1" * 50, "no text"),
        (LOOP + "1 2\n3\n", r"row 2 of data_particles \(line 7\) has 1 values for 2 columns"),
        (LOOP + "1 2\n3 4 5\n", "has 3 values for 2 columns"),
        (LOOP + LOOP, "two blocks data_particles"),
        (LOOP.replace("_b", "_a") + "1 2\n", "two columns a"),
        ("data_x\n_a\n", "_a in line 2 must have one value"),
        ("data_x\n_a 1 2\n", "_a in line 2 must have one value"),
        ("data_x\n1 2\n", "line 2 belongs to no column"),
        ("data_x\nloop_\n1 2\n", "line 3 belongs to no column"),
    ],
)
def test_what_is_no_table_is_told_in_one_sentence(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_text(write(tmp_path, text))
    assert "t.star" in str(caught.value)


ODD = (
    *("two words", "", " lead", "tail ", "_under", "data_x", "loop_", "; q", "#1", "a#b", "a\tb"),
    *("it's", "it's two", 'say "x"', 'say "x" twice', '"', "'", "' ", '"x" y', "'a", "a'", "0007"),
    *("no-break\u00a0space", "line\u2028separator", "next\x85line", "\u672c", "nan", "<NA>"),
)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("loop", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, columns: int, loop: bool) -> None:
    for value in ODD:
        rows = [(value,) * columns] * (2 if loop else 1)
        block = Block("particles", ["a", "b"][:columns], rows, loop)
        found = read_text(
            write(tmp_path, text_of(block) + "\n" + text_of(Block("x", ["c"], [("1",)])))
        )
        assert found["particles"] == block, value
        assert found["x"].rows == [("1",)]


def test_only_blanks_of_ascii_part_values(tmp_path: Path) -> None:
    assert rows(tmp_path, LOOP + "a\u00a0b.mrc\tc\u2003d\n") == [["a\u00a0b.mrc", "c\u2003d"]]
