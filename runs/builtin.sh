#!/usr/bin/env bash
# Trains the built-in model, stage by stage: words and images, the detector, its refinement, the tracker (recipes
# builtin-encoders, builtin, builtin-refine, builtin-tracker). DATA holds cutouts/, backgrounds/ and real/
# (docs/model_card.md says what was in them). What was stopped goes on where it was.
#   runs/builtin.sh DATA OUT
set -euo pipefail
export OMP_NUM_THREADS=1
stage() { # recipe, processes, then overrides
  torchrun --nproc-per-node "$2" -m masklet.train.run.loop "$1" "$out/$1" --resume data.root="$data" "${@:3}"
}
data=$1 out=$2
stage builtin-encoders 1 data.workers=1
stage builtin 2 initial_weights="$out/builtin-encoders/weights.safetensors"
stage builtin-refine 2 initial_weights="$out/builtin/weights.safetensors"
python runs/finish_builtin.py "$out/builtin-refine" "$data" "$out/detector.safetensors"
stage builtin-tracker 1 initial_weights="$out/detector.safetensors"
