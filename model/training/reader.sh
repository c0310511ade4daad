#!/usr/bin/env bash
# The shipped reader learns on lent GPUs, from larger ones that learn before it; each step is a call.
#   fill CORPUS EVAL MPNET   here: what each of the five calls carries, into build/carry-reader-1 … -5; MPNET: a folder
#                            with a model.safetensors and a tokenizer.json of BERT's word pieces
#   take        there, five times: puts what came with a call, in .carry, in its place; the last begins what follows:
#               on each card a larger one learns for MENTOR seconds, then on all of them one to ship, until END seconds
#               after the first call: from what HEARD of them say, with matrices of three values; it goes on from the one
#               in the tree (START= from the first card's larger one)
#   wait SECONDS   there: until all have learned, or so many seconds
#   bring       there: what has learned, as a checkpoint has it (its weights in pieces), and the logs, for $OUT
set -euo pipefail
python=${PYTHON:-python3}
code=${CODE:-$PWD}
parts=5 nears=(${NEARS:-0.3 0.5}) rates=(${RATES:-1e-4 1.5e-4})
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$code:/tmp/site

fill() {
    rm -rf build/carry-reader-* build/reader; mkdir -p build/reader
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d build/reader zstandard
    cp $(ls "$1"/qa-*.zst | grep -v longdocs) "$2"/reading-squad*.xz "$3/tokenizer.json" build/reader/
    "$python" -m model.training.halve "$3/model.safetensors" build/reader/mpnet.safetensors
    cp -r model/mini/reader build/reader/start
    tar c -C build/reader . | split -b 54000000 -d -a 1 --numeric-suffixes=1 - build/reader-part-
    for part in build/reader-part-*; do mkdir "build/carry-reader-${part##*-}"; mv "$part" "build/carry-reader-${part##*-}/"; done
    rm -r build/reader; du -sm build/carry-reader-*
}

take() {
    [ -e /tmp/begun ] || date +%s > /tmp/begun
    mkdir -p /tmp/parts; mv .carry/reader-part-* /tmp/parts/
    ls /tmp/parts
    [ "$(ls /tmp/parts | wc -l)" = "$parts" ] || return 0  # a part that was lost with a machine can be sent again
    mkdir -p /tmp/in /tmp/site /tmp/encoder /tmp/code
    cat /tmp/parts/reader-part-* | tar x -C /tmp/in; rm -r /tmp/parts
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site /tmp/in/*.whl
    mv /tmp/in/mpnet.safetensors /tmp/encoder/model.safetensors; mv /tmp/in/tokenizer.json /tmp/encoder/
    cp -r model app kernels storage /tmp/code/
    CODE=/tmp/code setsid bash model/training/reader.sh learn > /tmp/learned.log 2>&1 < /dev/null &
}

step() { # STEP CARD …: a step of `model.training` on a card, over what was taken
    local kind=$1 card=$2; shift 2
    (cd "$code" && CUDA_VISIBLE_DEVICES=$card OMP_NUM_THREADS=2 "$python" -m model.training "$kind" --folder "/tmp/run$card" \
        --corpus /tmp/in --eval /tmp/in --encoder /tmp/encoder --every "${EVERY:-2}" "$@")
}

on_cards() { # STEP TOKENS SECONDS PASSES RATE …: a step on every card, each with its own seed and share of lessons
    local kind=$1 tokens=$2 seconds=$3 passes=$4 card running=(); shift 4
    local rate=("$@")
    for card in $(seq 0 $((cards - 1))); do
        RANK=$card LOCAL_RANK=$card step "$kind" "$card" --width "${WIDTH:-128}" --step-tokens "$tokens" \
            --workers $((cores / cards)) --lessons "${LESSONS:-600000}" --seconds "$seconds" --passes "$passes" \
            --seed $((1 + 1000 * card)) --near "${nears[card % ${#nears[@]}]}" --rate "${rate[card % ${#rate[@]}]}" ${start:+--start $start} \
            > "/tmp/$kind$card.log" 2>&1 & running+=($!)
    done
    for card in "${running[@]}"; do wait "$card" || touch /tmp/failed; done
    [ ! -e /tmp/failed ]
}

learn() {
    local cores card
    cores=$(getconf _NPROCESSORS_ONLN); cards=$(nvidia-smi -L 2> /dev/null | wc -l) || true; cards=${CARDS:-$((cards > 0 ? cards : 1))}
    mkdir -p $(seq -f /tmp/run%g 0 $((cards - 1)))
    on_cards mentor "${TOKENS:-65536}" "${MENTOR:-300}" 3 "${rates[@]}"
    for card in $(seq 0 $((cards - 1))); do mv "/tmp/run$card/mentor.pt" "/tmp/mentor-$card.pt"; done
    for card in $(seq 0 $((cards - 1))); do ln -s $(ls /tmp/mentor-*.pt | head -n "${HEARD:-2}") "/tmp/run$card/"; done
    local start=${START-/tmp/in/start}
    export WORLD_SIZE=$cards MASTER_ADDR=127.0.0.1 MASTER_PORT=29511  # what torchrun would say: all teach one
    on_cards reader "${TOKENS:-65536}" $(($(cat /tmp/begun) + ${END:-1400} - $(date +%s))) 40 "${RATE:-2e-4}"
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
    step ship 0 --out /tmp/shipped
    cp /tmp/shipped/reader/*.json "$OUT/"
    tail -n +1 /tmp/mentor[0-9].log /tmp/reader[0-9].log > "$OUT/learned.log"  # few files may come back at once
    split -b 15000000 -d -a 1 /tmp/shipped/reader/model.safetensors "$OUT/model.safetensors."
}

case ${1-} in
    fill | take | learn | bring) "$@" ;;
    wait) wait_for "$2" ;;
    *) sed -n '2,10s/^# //p' "$0"; exit 2 ;;
esac
