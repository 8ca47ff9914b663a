#!/bin/sh
# Collects what scripts/gpu_check.sh needs on a machine without network that has Python, torch, numpy,
# scipy, pandas and pyarrow: wheels of the versions in constraints.txt, for its Python and Linux on
# x86-64.
#
# usage: sh scripts/gpu_wheels.sh
# environment: PYTHON (whose pip fetches), WHEELS (the folder), FOR_PYTHON (the other machine's, 3.12)
set -eu
python=${PYTHON:-python3}
wheels=${WHEELS:-build/gpu_wheels}
for_python=${FOR_PYTHON:-3.12}
most=40  # MB

# neither napari nor healpy
packages="mrcfile starfile pydantic pydantic_core annotated-types typing-inspection typing_extensions
    tomli_w typer shellingham annotated-doc rich markdown-it-py mdurl Pygments
    platformdirs pytest iniconfig packaging pluggy"

pins=
for name in $packages; do
    pins="$pins $(grep -i "^$name==" constraints.txt)"
done
platforms=
for glibc in 2_28 2_27 2_17; do
    platforms="$platforms --platform manylinux_${glibc}_x86_64"
done

rm -rf "$wheels"
mkdir -p "$wheels"
# shellcheck disable=SC2086  # words of their own
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
    --python-version "$for_python" --implementation cp $platforms --platform manylinux2014_x86_64 \
    --dest "$wheels" $pins
kilobytes=$(du -sk "$wheels" | cut -f1)
echo "$(ls "$wheels" | wc -l) wheels for Python $for_python in $wheels: $((kilobytes / 1024)) MB"
if [ "$kilobytes" -gt $((most * 1024)) ]; then
    echo "That is more than the $most MB that may travel." >&2
    exit 1
fi
