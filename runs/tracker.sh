#!/usr/bin/env bash
# Trains the tracker and click head of the built-in model over its detector, which stays bit for bit as it is: recipe
# `builtin-tracker` (src/masklet/train/recipes/builtin-tracker.yaml). DATA holds cutouts/, backgrounds/ and real/.
# Stopped runs are continued; OUT/weights.safetensors is the whole model, ready to ship.
#   runs/tracker.sh DATA OUT
set -euo pipefail
export OMP_NUM_THREADS=1
python -m masklet.train.loop builtin-tracker "$2" --resume data.root="$1"
