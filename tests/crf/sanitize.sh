#!/bin/sh
# Builds the compiled engine with the address and undefined-behaviour sanitizers, in a copy, and runs its tests there.
# Usage, from the root of the repository: tests/crf/sanitize.sh [python]
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/src" "$copy/tests"
cp "$root/setup.py" "$copy"
cp "$root/src/__init__.py" "$copy/src"
cp -r "$root/src/crf" "$copy/src/crf"
cp -r "$root/tests/crf" "$copy/tests/crf"
cp "$root/tests/commands.py" "$copy/tests"
cp -r "$root/conf" "$copy/conf"
rm -f "$copy"/src/crf/_native*
printf '[pytest]\nmarkers = slow\n' > "$copy/pytest.ini"
cd "$copy"
CRF_SANITIZE=1 "$python" setup.py --quiet build_ext --inplace
ls src/crf/_native* > /dev/null  # the build is optional: here it must be there
# Not the test that forks: the sanitizer's own allocator may be locked by a thread that the child does not have.
# The interpreter and torch leak on purpose; leaks of ours would show in the memory tests.
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export DEEPLAB_DATA="${DEEPLAB_DATA:-$root/../shared/data}" PYTHONPATH="$copy" OMP_NUM_THREADS=1
LD_PRELOAD="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libstdc++.so)" \
  "$python" -m pytest -q -p no:cacheprovider tests/crf -m "not slow" \
  -k "(native or threads or instruction or classes or futures or pool or degenerate or camvid or settle) and not forked"
