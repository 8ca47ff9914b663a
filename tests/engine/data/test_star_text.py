from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from napari_cryospin.engine.data import star_text
from napari_cryospin.engine.data.star_plain import read_rows, write_rows
from napari_cryospin.engine.data.star_text import Block, read_text, text_of
from napari_cryospin.engine.data.texts import ARROW_TEXT, text_frame, text_table
from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LOOP = "data_particles\n\nloop_\n_a #1\n_b #2\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.star"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(block: Block) -> list[list[str]]:
    return [list(row) for row in block.frame.itertuples(index=False)]


def rows(folder: Path, text: str | bytes) -> list[list[str]]:
    return rows_of(read_text(write(folder, text))["particles"])


def test_values_stay_the_texts_that_they_are(tmp_path: Path) -> None:
    text = LOOP + "0001.50 1e5\n  00  'two words' # a comment\n\"\" it's#1\n"
    assert rows(tmp_path, text) == [["0001.50", "1e5"], ["00", "two words"], ["", "it's#1"]]


def test_blocks_that_are_no_loops_have_one_row(tmp_path: Path) -> None:
    block = read_text(write(tmp_path, "data_general\n_a 1\n_b  'x y'\n\n" + LOOP))["general"]
    assert (list(block.frame), rows_of(block), block.loop) == (["a", "b"], [["1", "x y"]], False)


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
    assert rows_of(blocks["particles"]) == [["data_1/a.mrcs", "2"]]


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


def made(rows: list[list[str]], name: str = "particles", *, loop: bool = True) -> Block:
    return Block(name, text_frame(text_table(["a", "b", "c"][: len(rows[0])], rows)), loop)


ODD = (
    *("two words", "", " lead", "tail ", "_under", "data_x", "loop_", "; q", "#1", "a#b", "a\tb"),
    *("it's", "it's two", 'say "x"', 'say "x" twice', '"', "'", "' ", '"x" y', "'a", "a'", "0007"),
    *("no-break\u00a0space", "line\u2028separator", "next\x85line", "\u672c", "nan", "<NA>"),
)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("loop", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, columns: int, loop: bool) -> None:
    for value in ODD:
        block = made([[value] * columns] * (2 if loop else 1), loop=loop)
        found = read_text(
            write(tmp_path, b"".join([*text_of(block), b"\n", *text_of(made([["1"]], name="x"))]))
        )
        assert rows_of(found["particles"]) == rows_of(block), value
        assert found["particles"].loop == loop
        assert rows_of(found["x"]) == [["1"]]


def test_only_blanks_of_ascii_part_values(tmp_path: Path) -> None:
    assert rows(tmp_path, LOOP + "a\u00a0b.mrc\tc\u2003d\n") == [["a\u00a0b.mrc", "c\u2003d"]]


PLAIN = "  1  a.mrcs \n2\tdata_x\n 3 it's#1\n\n4 b\u00a0c\r\n-5.0 loop_\n"


@pytest.mark.parametrize(
    "more",
    [
        *(
            "",
            "'two words' x\n",
            'x ""\n',
            "x y # said\n",
            "# said\n",
            "\xe9 x\n".encode("latin-1"),
        ),
        *(
            "\ufeffx y\n",
            "\u672c x\n",
            "x\v\fy\n",
            "x y",
            " \n \n",
            "\n\ndata_other\n\n_a 1\n",
            "_a b\n",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 24, 60])
def test_pieces_of_a_file_are_read_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str | bytes, size: int
) -> None:
    more = more if isinstance(more, bytes) else more.encode()
    path = write(tmp_path, LOOP.encode() + 3 * PLAIN.encode() + more)
    line_by_line = read_text(path)
    monkeypatch.setattr(star_text, "_PIECE_BYTES", size)
    found = read_text(path)
    assert list(found) == list(line_by_line)
    for name, block in line_by_line.items():
        assert rows_of(found[name]) == rows_of(block)
    assert rows_of(found["particles"])[:2] == [["1", "a.mrcs"], ["2", "data_x"]]


def test_rows_are_taken_many_at_a_time_where_they_are_plain() -> None:
    plain = read_rows(PLAIN.encode(), ["a", "b"])
    assert plain is not None
    assert plain.column("b").to_pylist() == ["a.mrcs", "data_x", "it's#1", "b\u00a0c", "loop_"]
    for odd in ("'x' y\n", 'x "y"\n', "x #y\n", "#x y\n", "x\n", "x y z\n", "\ufeffx y\n"):
        assert read_rows((PLAIN + odd).encode(), ["a", "b"]) is None, odd
    assert read_rows(b"data_x\n", ["a"]) is None


def test_a_damaged_row_far_down_is_told_by_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(star_text, "_PIECE_BYTES", 50)
    with pytest.raises(InputError, match=r"row 101 of data_particles \(line 106\) has 1 values"):
        read_text(write(tmp_path, LOOP + 100 * "1 2\n" + "3\n" + 100 * "1 2\n"))


@pytest.mark.parametrize("value", ODD)
def test_rows_are_written_many_at_a_time_where_none_needs_quotes(value: str) -> None:
    for row in ([value, "x"], ["x", value]):
        many = write_rows([pa.array([text, "y"], ARROW_TEXT) for text in row])
        written = b"".join(text_of(made([row, ["y", "y"]]))).partition(b"#2\n")[2]
        in_quotes = any(f"{quote}{value}{quote}".encode() in written for quote in "\"'")
        assert (many is None) == in_quotes
        assert many is None or many + b"\n" == written
