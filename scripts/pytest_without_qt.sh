#!/bin/sh
# Runs pytest for tests that need no Qt, and without a screen: the engine and the command line.
#
# usage: sh scripts/pytest_without_qt.sh VENV [pytest arguments]
set -eu
venv=$1
shift
# threads of torch that wait for a core that is busy with others slow tests several times over
export OMP_NUM_THREADS=1
unset DISPLAY WAYLAND_DISPLAY QT_API PYTEST_QT_API

echo "== pytest without Qt =="
exec "$venv/bin/python" -m pytest -p no:pytest-qt "$@"
