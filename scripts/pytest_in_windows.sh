#!/bin/sh
# Runs pytest with real windows: on a virtual screen under Linux, on the desktop elsewhere.
#
# usage: sh scripts/pytest_in_windows.sh VENV pyqt6|pyside6 [pytest arguments]
set -eu
venv=$1
binding=$2
shift 2
export QT_API="$binding" PYTEST_QT_API="$binding"
export NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1  # napari then refuses layers made in other threads
# threads of torch that wait for a core that is busy with others slow tests several times over
export OMP_NUM_THREADS=1
unset WAYLAND_DISPLAY QT_QPA_PLATFORM

echo "== pytest with $binding =="
if [ "$(uname -s)" = Linux ]; then
    exec xvfb-run -a -s "-screen 0 1920x1080x24" "$venv/bin/python" -m pytest "$@"
fi
exec "$venv/bin/python" -m pytest "$@"
