# make demo         open napari with a reconstruction running live (in the terminal without a display)
# make test         lint, then every test: GUI tests in real windows, with PySide6 and with PyQt6
# make lint         ruff, mypy, import-linter, npe2
# make test-relion  compare with RELION's own programs
# make docs         build the documentation into site/
# make constraints  write constraints.txt anew from the present environment
#
# Each does its own set-up, in $(VENV), and only once. Set PYTHON to choose the interpreter.

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo test lint test-relion docs constraints clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

demo: $(VENV)/.stamp-run
	@sh scripts/demo.sh $(VENV)

# The run that covers everything comes last, so that its closing line is the last one printed.
test: lint
	@sh scripts/system.sh window xvfb
	@sh scripts/pytest_in_windows.sh $(VENV) pyside6 tests/gui -m "not relion"
	@sh scripts/pytest_in_windows.sh $(VENV) pyqt6 -m "not relion"

lint: $(VENV)/.stamp-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/npe2 validate src/napari_cryospin/napari.yaml

test-relion: $(VENV)/.stamp-test
	@sh scripts/system.sh relion window xvfb
	@sh scripts/pytest_in_windows.sh $(VENV) pyqt6 -m relion

docs: $(VENV)/.stamp-docs
	$(VENV)/bin/mkdocs build --strict

constraints: $(VENV)/.stamp-test $(VENV)/.stamp-docs
	@sh scripts/constraints.sh $(VENV) > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:
	rm -rf $(VENV) site

$(VENV)/.stamp-venv:
	@sh scripts/system.sh python
	@echo "Making a virtual environment in $(VENV) with $$(sh scripts/python.sh)"
	@"$$(sh scripts/python.sh)" -m venv $(VENV)
	@$(INSTALL) --upgrade pip
	@touch $@

# torch comes first and alone: it is the largest, and every later step then finds it there.
$(VENV)/.stamp-run: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo "Installing torch"
	@$(INSTALL) torch
	@echo "Installing napari-cryospin, napari and PyQt6"
	@$(INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-run
	@echo "Installing what the tests and the linters need"
	@$(INSTALL) --group test --group lint
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo "Installing what the documentation needs"
	@$(INSTALL) --group docs
	@touch $@
