#!/usr/bin/env bash
# The paper from nothing: boxes simulated to shards, its generator and the Gaussian control, a report that says pass or fail.
#   scripts/reproduce.sh [section.key=value …]      settings, as of snapshots of your own: preprocess.snapshots=[…]
#   REPRODUCE_SCALE=smoke|quarter|full              minutes on two cores (default); 8 + 2 boxes of 512³; the paper's 32, + 4
#   REPRODUCE_CLUSTER=local|one-gpu|four-gpus|FILE  the machine; default: by the number of GPUs that nvidia-smi lists
#   REPRODUCE_MINUTES=10                            stop in time, with exit status 75; the same command resumes
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
scale=${REPRODUCE_SCALE:-smoke}
minutes=${REPRODUCE_MINUTES:-}

fail() {
    echo "error: $1" >&2
    exit 1
}
[[ -e configs/reproduce-$scale.yaml ]] || fail "REPRODUCE_SCALE: expected smoke, quarter or full, found $scale"
[[ -z $minutes || $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || fail "REPRODUCE_MINUTES: expected a number of minutes, found $minutes"
command -v "$python" > /dev/null || fail "$python: not found; run \`make install\`, or set PYTHON to that of your environment"

gpus=$({ nvidia-smi --list-gpus 2> /dev/null || true; } | grep -c '^GPU' || true)
case $gpus in
    0) machine=local ;;
    [1-3]) machine=one-gpu ;;
    *) machine=four-gpus ;;
esac

run() {
    local left=()
    if [[ -n $minutes ]]; then
        left=(--minutes "$(awk "BEGIN {print $minutes - $SECONDS / 60}")")
    fi
    "$python" -m cosmogan.run "configs/reproduce-$scale.yaml" --cluster "${REPRODUCE_CLUSTER:-$machine}" "${left[@]}" "$@"
}

folder=runs/reproduce-$scale
run "$@"
run "name=reproduce-$scale-gaussian" "output=$folder-gaussian" "data=$folder" model.prior=gaussian "$@"
"$python" -m cosmogan.report --compare "$folder" "$folder-gaussian" --output "$folder-comparison"
