# make demo         open napari with a reconstruction running live (in the terminal without a display)
# make test         lint and every test but the slow ones, in parts, two of them side by side;
#                   GUI tests in real windows, with PySide6 and with PyQt6
# make test-slow    campaigns and long benchmarks, which take minutes each
# make lint         ruff, mypy, import-linter, npe2, schemas of workflows and templates
# make test-relion  compare with RELION's own programs
# make docs         build the documentation into site/
# make constraints  write constraints.txt anew from the present environment
#
# Each does its own set-up, in $(VENV), and only once. Set PYTHON to choose the interpreter.

VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# not compiled: what is used is compiled when it is first imported, in less time than all of it,
# and only then; where Python may not keep what it compiled, each process would do it again
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(PIP) install --quiet --no-compile --constraint constraints.txt

# parts of `make test` that run at a time, of one thread each
AT_ONCE ?= 2
# the longest come first, so that both cores are busy to the end; what is in none of the folders
# that have a part of their own is in test-rest
TEST_PARTS := test-run test-gui-pyqt6 test-gui-pyside6 test-cli test-rest test-poses lint
QUICK := -m "not relion and not slow_campaign"

COMPILE := import torch; from napari_cryospin.engine import kernels; \
	kernels.make_ready(torch.device('cpu'))

.PHONY: demo test lint test-relion test-slow docs constraints clean $(TEST_PARTS)
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

demo: $(VENV)/.stamp-run
	@sh scripts/demo.sh $(VENV)

test: $(VENV)/.stamp-test
	@sh scripts/system.sh window xvfb
	@$(PY) scripts/side_by_side.py --at-once $(AT_ONCE) $(TEST_PARTS)

test-gui-pyqt6 test-gui-pyside6: test-gui-%: $(VENV)/.stamp-test
	@sh scripts/pytest_in_windows.sh $(VENV) $* tests/gui $(QUICK)

test-run: $(VENV)/.stamp-test
	@sh scripts/pytest_without_qt.sh $(VENV) tests/engine/run $(QUICK)

test-cli: $(VENV)/.stamp-test
	@sh scripts/pytest_without_qt.sh $(VENV) tests/cli $(QUICK)

test-poses: $(VENV)/.stamp-test
	@sh scripts/pytest_without_qt.sh $(VENV) \
	    tests/engine/inference tests/engine/posterior tests/engine/refining tests/engine/sums \
	    $(QUICK)

test-rest: $(VENV)/.stamp-test
	@sh scripts/pytest_without_qt.sh $(VENV) tests $(QUICK) \
	    --ignore tests/gui --ignore tests/cli --ignore tests/engine/run \
	    --ignore tests/engine/inference --ignore tests/engine/posterior \
	    --ignore tests/engine/refining --ignore tests/engine/sums

lint: $(VENV)/.stamp-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/npe2 validate src/napari_cryospin/napari.yaml
	sh scripts/schemas.sh $(VENV)/bin/check-jsonschema

test-relion: $(VENV)/.stamp-test
	@sh scripts/system.sh relion window xvfb
	@sh scripts/pytest_in_windows.sh $(VENV) pyqt6 -m relion

test-slow: $(VENV)/.stamp-test
	@sh scripts/system.sh window xvfb
	@sh scripts/pytest_in_windows.sh $(VENV) pyqt6 -m slow_campaign \
	    -o faulthandler_timeout=7200

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
	@echo "Installing what the tests and the linters need, and compiling the kernels meanwhile"
	@$(PY) -c "$(COMPILE)" & $(INSTALL) --group test --group lint; status=$$?; wait; exit $$status
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo "Installing what the documentation needs"
	@$(INSTALL) --group docs
	@touch $@
