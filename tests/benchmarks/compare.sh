#!/usr/bin/env bash
# Measure a commit, then this tree, and print how they differ: compare.sh REVISION PYTHON [OPTION ...]
# The options are those of tests.benchmarks, such as --only crf --rounds 2.
set -euo pipefail
cd "$(dirname "$0")/../.."
revision=$1 python=$2
shift 2
folder=$(mktemp -d)
trap 'git worktree remove --force "$folder/base"; rm -rf "$folder"' EXIT
git worktree add --quiet --detach "$folder/base" "$revision"
test -f "$folder/base/tests/benchmarks/__main__.py" || { echo "error: BASE=$revision: is older than this benchmark" >&2; exit 2; }
(cd "$folder/base" && "$python" setup.py --quiet build_ext --inplace)
export DEEPLAB_DATA=${DEEPLAB_DATA:-$(cd .. && pwd)/shared/data}
(cd "$folder/base" && "$python" -m tests.benchmarks --json "$folder/before.json" "$@")
"$python" -m tests.benchmarks --json "$folder/after.json" "$@"
"$python" -m tests.benchmarks --compare "$folder/before.json" "$folder/after.json"
