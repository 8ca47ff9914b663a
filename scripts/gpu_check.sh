#!/bin/sh
# Checks the engine on a GPU, on a machine that has Python with torch, numpy, scipy, pandas and pyarrow,
# and no network: the tests, the same result as on the CPU, the paper's epochs, and a large default run.
# Each part has a time limit and leaves its table, with what it reached; all end within ten minutes.
# What else is needed, scripts/gpu_wheels.sh collects beforehand, where there is a network.
#
# usage: sh scripts/gpu_check.sh [--dry-run]    (--dry-run: small sizes, and the CPU for the GPU)
# environment: PYTHON, WHEELS (their folder), OUT (folder of the tables)
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-build/gpu_wheels}
out=${OUT:-benchmarks/results/gpu}
device=cuda
tests_limit=130 same_limit=130 paper_limit=140 default_limit=130  # seconds
same="" paper="" default=""
if [ "${1:-}" = --dry-run ]; then
    device=cpu
    set -- -k "sampled or mixed or allowed"
    same="--particles 200" paper="--particles 40 --box 32" default="--particles 100 --box 32"
elif [ $# -gt 0 ]; then
    echo "usage: sh scripts/gpu_check.sh [--dry-run]" >&2
    exit 2
else
    set -- -m gpu
fi

mkdir -p "$out"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if ls "$wheels"/*.whl >/dev/null 2>&1; then
    "$python" -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-compile \
        --no-cache-dir --target "$site" "$wheels"/*.whl || exit 2
else
    echo "There are no wheels in $wheels: using what is installed (see scripts/gpu_wheels.sh)."
fi
PYTHONPATH="$PWD/src:$site${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1

if [ "$device" = cuda ] && ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "torch sees no GPU here: --dry-run tries the parts on the CPU." >&2
    exit 2
fi

summary="$out/summary.md"
log="$out/log.txt"
: >"$log"
printf '# GPU check\n\n| part | seconds | limit | ended |\n| --- | --- | --- | --- |\n' >"$summary"
failed=0

# part NAME LIMIT COMMAND...: runs a part within its limit, and tells how it ended; the others go on
part() {
    name=$1
    limit=$2
    shift 2
    echo "== $name, at most $limit s =="
    began=$(date +%s)
    timeout -k 5 "$limit" "$@" >"$site/part.log" 2>&1
    code=$?
    { echo "== $name =="; cat "$site/part.log"; } >>"$log"
    tail -n 15 "$site/part.log"
    ended="well"
    [ "$code" -eq 0 ] || { ended="with exit code $code"; failed=1; }
    [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || ended="at its limit"
    echo "| $name | $(($(date +%s) - began)) | $limit | $ended |" >>"$summary"
}

bench() {
    name=$1
    limit=$2
    shift 2
    part "$name" "$limit" "$python" "benchmarks/gpu/$name.py" --device "$device" --out "$out" \
        --seconds "$limit" "$@"
}

# "$@" chooses the tests; warnings of other versions are no errors here
part gpu_tests "$tests_limit" "$python" -m pytest -v -W default -p no:cacheprovider "$@" \
    tests/engine/test_pretended_device.py
{
    printf '# GPU tests\n\n| test | result |\n| --- | --- |\n'
    sed -nE 's/^tests[^ ]*::(.*) (PASSED|FAILED|ERROR|SKIPPED).*/| `\1` | \2 |/p' "$site/part.log"
    printf '\n%s\n' "$(grep -E '^(FAILED|ERROR|=+ .* in )' "$site/part.log" | cut -c1-200)"
} >"$out/gpu_tests.md"
# shellcheck disable=SC2086  # words of their own
bench same_result "$same_limit" $same
# shellcheck disable=SC2086
bench paper_epochs "$paper_limit" $paper
# shellcheck disable=SC2086
bench default_run "$default_limit" $default
cat "$summary"
exit "$failed"
