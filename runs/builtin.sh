#!/usr/bin/env bash
# Trains the built-in model: recipe `builtin` (src/masklet/train/recipes/builtin.yaml), two processes of one thread each.
# DATA holds cutouts/, backgrounds/ and real/ (docs/model_card.md says what was in them). Stopped runs are continued.
#   runs/builtin.sh DATA OUT
set -euo pipefail
export OMP_NUM_THREADS=1
torchrun --nproc-per-node 2 -m masklet.train.loop builtin "$2" --resume data.root="$1"
