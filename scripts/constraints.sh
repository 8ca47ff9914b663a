#!/bin/sh
# Prints constraints.txt: the versions installed in a virtual environment, without local tags.
#
# usage: sh scripts/constraints.sh VENV > constraints.txt
set -eu
cat <<'HEADER'
# Versions that are known to work together; `make` installs with them. Ranges are in pyproject.toml.
# Made by `make constraints` from an environment that has passed `make test` and `make docs`.
HEADER
# A local tag, as in torch 2.13.0+cpu, would tie the file to one build; any build of the version will do.
"$1/bin/python" -m pip freeze --exclude-editable --exclude napari-cryospin |
    sed -e 's/+[^ ]*$//' | LC_ALL=C sort -f
