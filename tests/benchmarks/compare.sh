#!/usr/bin/env bash
# Measure a commit and this tree in turns, and print how they differ: compare.sh REVISION PYTHON
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'git worktree remove --force "$folder/base"; rm -rf "$folder"' EXIT
git worktree add --quiet --detach "$folder/base" "$1"
test -f "$folder/base/tests/benchmarks/__main__.py" || { echo "error: BASE=$1: is older than this benchmark" >&2; exit 2; }
(cd "$folder/base" && "$2" setup.py --quiet build_ext --inplace)
export DEEPLAB_DATA=${DEEPLAB_DATA:-$(cd .. && pwd)/shared/data}
(cd "$folder/base" && "$2" -m tests.benchmarks --json "$folder/before.json")
"$2" -m tests.benchmarks --json "$folder/after.json"
"$2" -m tests.benchmarks --compare "$folder/before.json" "$folder/after.json"
