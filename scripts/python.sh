#!/bin/sh
# Prints the first Python between 3.11 and 3.14 that runs and can make virtual environments.
# A candidate is run, not only looked up: version managers put commands on the path that fail.

check='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if "$candidate" -c "$check" >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
echo "${PYTHON:-No command python3} is not a Python between 3.11 and 3.14 with the venv module;" \
    "choose one with: make PYTHON=..." >&2
exit 1
