#!/bin/sh
# Opens the demo in a napari window, or runs it in the terminal where there is no display.
#
# usage: sh scripts/demo.sh VENV
set -eu
venv=$1

can_open_a_window() {
    if [ "$(uname -s)" = Linux ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        return 1
    fi
    sh scripts/system.sh window || exit 1
    "$venv/bin/python" -c "from qtpy.QtWidgets import QApplication; QApplication([])" 2>/dev/null
}

if can_open_a_window; then
    exec "$venv/bin/napari-cryospin" demo
fi
echo "There is no display: running the demo in the terminal (napari-cryospin demo --headless)."
exec "$venv/bin/napari-cryospin" demo --headless
