"""The public API: short, documented, and free of windows."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from napari_cryospin import api

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
MOST = 42


def test_the_api_is_short_and_complete():
    assert len(api.__all__) <= MOST
    # what is imported into it is there for scripts
    public = {name for name in vars(api) if not name.startswith("_")}
    assert public == set(api.__all__)


def test_the_page_documents_the_api_and_nothing_that_is_not_there():
    documented = re.findall(r"^::: napari_cryospin\.api\.(\w+)", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(api.__all__)


@pytest.mark.parametrize("name", api.__all__)
def test_what_is_public_is_described(name: str):
    found = getattr(api, name)
    assert inspect.getdoc(found)
    if inspect.isfunction(found):
        described = inspect.getdoc(found) or ""
        for argument in inspect.signature(found).parameters:
            assert re.search(rf"^(\w+, )*{argument}(, \w+)*$", described, re.MULTILINE), argument
