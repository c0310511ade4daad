#!/usr/bin/env bash
# The shipped reader learns on one lent GPU, from a larger one that learns before it; each step is a call.
#   fill CORPUS EVAL MINILM MPNET   here: what each of the six calls carries, into build/carry-reader-1 … -6; MINILM and
#                                   MPNET: folders with a model.safetensors, and MINILM with its tokenizer.json
#   take N      there, N = 1 … 6: puts what came with call N, in .carry, in its place
#   learn       there: MENTOR seconds for the larger one, then READER seconds for the one that is shipped
#   bring       there: that one as a checkpoint has it, and its state in pieces, for $OUT
set -euo pipefail
python=${PYTHON:-python3}
code=${CODE:-$PWD}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$code:/tmp/site

fill() {
    rm -rf build/carry-reader-* build/reader; mkdir -p build/reader
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d build/reader zstandard
    cp $(ls "$1"/qa-*.zst | grep -v longdocs) "$2"/reading-squad*.xz "$3/tokenizer.json" build/reader/
    "$python" -m model.training.halve "$3/model.safetensors" build/reader/minilm.safetensors
    "$python" -m model.training.halve "$4/model.safetensors" build/reader/mpnet.safetensors
    tar c -C build/reader . | split -b 54000000 -d -a 1 --numeric-suffixes=1 - build/reader-part-
    for part in build/reader-part-*; do mkdir "build/carry-reader-${part##*-}"; mv "$part" "build/carry-reader-${part##*-}/"; done
    rm -r build/reader; du -sm build/carry-reader-*
}

take() {
    mkdir -p /tmp/parts; mv .carry/reader-part-* /tmp/parts/
    [ "$1" = 6 ] || return 0
    mkdir -p /tmp/in /tmp/site /tmp/run /tmp/encoder /tmp/larger
    cat /tmp/parts/reader-part-* | tar x -C /tmp/in; rm -r /tmp/parts
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site /tmp/in/*.whl
    mv /tmp/in/minilm.safetensors /tmp/encoder/model.safetensors; mv /tmp/in/tokenizer.json /tmp/encoder/
    mv /tmp/in/mpnet.safetensors /tmp/larger/model.safetensors
}

step() { # a step of `model.training` over what was taken
    (cd "$code" && "$python" -m model.training "$@" --folder /tmp/run --corpus /tmp/in --eval /tmp/in \
        --reader /tmp/encoder --mentor /tmp/larger --step-tokens "${TOKENS:-32768}" --every "${EVERY:-2}")
}

learn() {
    local cores; cores=$(getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=2
    step mentor --workers "$cores" --lessons "${LESSONS:-600000}" --seconds "${MENTOR:-180}" --passes 3 --rate 5e-5
    step reader --workers "$cores" --lessons "${LESSONS:-600000}" --seconds "${READER:-240}" --passes 9
}

bring() {
    step ship --out /tmp/shipped
    cp /tmp/shipped/reader/* "$OUT/"
    split -b 15000000 -d -a 1 /tmp/run/reader.pt "$OUT/reader.pt."
}

case $1 in
    fill | take | learn | bring) "$@" ;;
    *) sed -n '2,7s/^# //p' "$0"; exit 2 ;;
esac
