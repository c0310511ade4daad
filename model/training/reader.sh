#!/usr/bin/env bash
# The shipped reader learns on lent GPUs, from larger ones that learn before it; each step is a call.
#   fill CORPUS EVAL SMALL MPNET   here: what each of the six calls carries, into build/carry-reader-1 … -6; SMALL and
#                                  MPNET: folders with a model.safetensors, and SMALL with its tokenizer.json
#   take        there, six times: puts what came with a call, in .carry, in its place; the last begins what follows:
#               on each card a larger one learns for MENTOR seconds, then from all of them one to ship, until END seconds
#               after the first call: the small encoder with word pieces of WIDTH dimensions
#   wait SECONDS   there: until all have learned, or so many seconds
#   bring N     there: what card N taught, as a checkpoint has it, and its state in pieces, for $OUT
set -euo pipefail
python=${PYTHON:-python3}
code=${CODE:-$PWD}
nears=(${NEARS:-0.3 0.5}) rates=(${RATES:-3e-4 3e-4})
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$code:/tmp/site

fill() {
    rm -rf build/carry-reader-* build/reader; mkdir -p build/reader
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d build/reader zstandard
    cp $(ls "$1"/qa-*.zst | grep -v longdocs) "$2"/reading-squad*.xz "$3/tokenizer.json" build/reader/
    "$python" -m model.training.halve "$3/model.safetensors" build/reader/small.safetensors
    "$python" -m model.training.halve "$4/model.safetensors" build/reader/mpnet.safetensors
    tar c -C build/reader . | split -b 54000000 -d -a 1 --numeric-suffixes=1 - build/reader-part-
    for part in build/reader-part-*; do mkdir "build/carry-reader-${part##*-}"; mv "$part" "build/carry-reader-${part##*-}/"; done
    rm -r build/reader; du -sm build/carry-reader-*
}

take() {
    [ -e /tmp/begun ] || date +%s > /tmp/begun
    mkdir -p /tmp/parts; mv .carry/reader-part-* /tmp/parts/
    ls /tmp/parts
    [ "$(ls /tmp/parts | wc -l)" = 6 ] || return 0  # a part that was lost with a machine can be sent again
    mkdir -p /tmp/in /tmp/site /tmp/encoder /tmp/larger /tmp/code
    cat /tmp/parts/reader-part-* | tar x -C /tmp/in; rm -r /tmp/parts
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site /tmp/in/*.whl
    mv /tmp/in/small.safetensors /tmp/encoder/model.safetensors; mv /tmp/in/tokenizer.json /tmp/encoder/
    mv /tmp/in/mpnet.safetensors /tmp/larger/model.safetensors
    cp -r model app kernels storage /tmp/code/
    CODE=/tmp/code setsid bash model/training/reader.sh learn > /tmp/learned.log 2>&1 < /dev/null &
}

step() { # STEP CARD …: a step of `model.training` on a card, over what was taken
    local kind=$1 card=$2; shift 2
    (cd "$code" && CUDA_VISIBLE_DEVICES=$card OMP_NUM_THREADS=2 "$python" -m model.training "$kind" --folder "/tmp/run$card" \
        --corpus /tmp/in --eval /tmp/in --reader /tmp/encoder --mentor /tmp/larger --every "${EVERY:-2}" "$@")
}

on_cards() { # STEP TOKENS SECONDS PASSES RATE …: a step on every card, each with its own seed and share of lessons
    local kind=$1 tokens=$2 seconds=$3 passes=$4 card running=(); shift 4
    local rate=("$@")
    for card in $(seq 0 $((cards - 1))); do
        step "$kind" "$card" --width "${WIDTH:-128}" --step-tokens "$tokens" \
            --workers $((cores / cards)) --lessons "${LESSONS:-600000}" --seconds "$seconds" --passes "$passes" \
            --seed $((1 + 1000 * card)) --near "${nears[card % ${#nears[@]}]}" --rate "${rate[card % ${#rate[@]}]}" \
            > "/tmp/$kind$card.log" 2>&1 & running+=($!)
    done
    for card in "${running[@]}"; do wait "$card" || touch /tmp/failed; done
    [ ! -e /tmp/failed ]
}

learn() {
    local cores card other
    cores=$(getconf _NPROCESSORS_ONLN); cards=$(nvidia-smi -L 2> /dev/null | wc -l) || true; cards=${CARDS:-$((cards > 0 ? cards : 1))}
    mkdir -p $(seq -f /tmp/run%g 0 $((cards - 1)))
    on_cards mentor "${TOKENS:-32768}" "${MENTOR:-400}" 3 5e-5 1e-4
    for card in $(seq 0 $((cards - 1))); do mv "/tmp/run$card/mentor.pt" "/tmp/mentor-$card.pt"; done
    for card in $(seq 0 $((cards - 1))); do ln -s /tmp/mentor-*.pt "/tmp/run$card/"; done
    on_cards reader "$((2 * ${TOKENS:-32768}))" $(($(cat /tmp/begun) + ${END:-1450} - $(date +%s))) 9 "${rates[@]}"
    touch /tmp/done
}

wait_for() {
    local until=$(($(date +%s) + $1))
    [ -e /tmp/learned.log ] || { echo "nothing is learning here: give the machine back"; touch /tmp/failed; }
    while [ "$(date +%s)" -lt "$until" ] && [ ! -e /tmp/done ] && [ ! -e /tmp/failed ]; do sleep 1; done
    tail -n 3 /tmp/learned.log /tmp/mentor*.log /tmp/reader*.log 2> /dev/null || true
    [ ! -e /tmp/failed ]
}

bring() {
    step ship "$1" --out "/tmp/shipped$1"
    cp "/tmp/shipped$1"/reader/* "$OUT/"
    split -b 15000000 -d -a 1 "/tmp/run$1/reader.pt" "$OUT/reader.pt."
}

case ${1-} in
    fill | take | learn | bring) "$@" ;;
    wait) wait_for "$2" ;;
    *) sed -n '2,10s/^# //p' "$0"; exit 2 ;;
esac
