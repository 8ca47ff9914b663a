#!/bin/sh
# Makes sure that what pip cannot install is there.
#
# usage: sh scripts/system.sh python|window|xvfb|relion ...
#
# What is missing is installed with apt-get where that is possible (root on Debian or Ubuntu);
# otherwise the line to run is printed and the script ends with 1.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
[ "$(uname -s)" = Linux ] || exit 0

packages=""
need() { packages="$packages $*"; }
need_command() { command -v "$1" >/dev/null 2>&1 || need "$2"; }
need_library() { ldconfig -p | grep -q "$1" || need "$2"; }

need_window_libraries() {
    need_library libEGL.so.1 libegl1
    need_library libGL.so.1 libgl1
    need_library libOpenGL.so.0 libopengl0
    need_library libglib-2.0.so.0 libglib2.0-0
    need_library libdbus-1.so.3 libdbus-1-3
    need_library libfontconfig.so.1 libfontconfig1
    need_library libxkbcommon-x11.so.0 libxkbcommon-x11-0
    need_library libxcb-cursor.so.0 libxcb-cursor0
    need_library libxcb-icccm.so.4 libxcb-icccm4
    need_library libxcb-image.so.0 libxcb-image0
    need_library libxcb-keysyms.so.1 libxcb-keysyms1
    need_library libxcb-randr.so.0 libxcb-randr0
    need_library libxcb-render-util.so.0 libxcb-render-util0
    need_library libxcb-shape.so.0 libxcb-shape0
    need_library libxcb-shm.so.0 libxcb-shm0
    need_library libxcb-sync.so.1 libxcb-sync1
    need_library libxcb-xfixes.so.0 libxcb-xfixes0
    need_library libxcb-xkb.so.1 libxcb-xkb1
    need_library libX11-xcb.so.1 libx11-xcb1
    find /usr/share/fonts /usr/local/share/fonts "${HOME:-/nonexistent}/.fonts" -name '*.[ot]tf' \
        2>/dev/null | grep -q . || need fonts-dejavu-core
}

for part in "$@"; do
    case $part in
        python) sh scripts/python.sh >/dev/null 2>&1 || need python3 python3-venv ;;
        window) need_window_libraries ;;
        xvfb)
            need_command xvfb-run xvfb
            need_command xauth xauth
            find /usr/lib -name 'swrast_dri.so' -o -name 'libgallium*.so' 2>/dev/null |
                grep -q . || need libgl1-mesa-dri
            ;;
        relion) need_command relion_reconstruct relion ;;
        *) echo "system.sh: unknown part '$part'" >&2; exit 2 ;;
    esac
done
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "These system packages (Debian's names) are missing; please install them:$packages" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "System packages are missing; please run:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$packages" >&2
    exit 1
fi
echo "Installing system packages:$packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q || echo "apt-get update failed; going on with the package lists that are there"
# shellcheck disable=SC2086  # the list is meant to be split
apt-get install -q -y --no-install-recommends $packages </dev/null
