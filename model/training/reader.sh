#!/usr/bin/env bash
# The shipped reader learns on lent GPUs, from larger ones that learn before it; each step is a call.
#   fill CORPUS EVAL MPNET   here: what each of the five calls carries, into build/carry-reader-1 … -5; MPNET: a folder
#                            with a model.safetensors and a tokenizer.json of BERT's word pieces
#   take        there, five times: puts what came with a call, in .carry, in its place; the last begins what follows:
#               on each card a larger one learns for MENTOR seconds from LESSONS, then on all of them one to ship from
#               READ others, until END seconds after the first call: from what HEARD of them say, with matrices of three
#               values; it goes on from the one in the tree (START= from the first card's larger one)
#   wait SECONDS   there: until all have learned, or so many seconds
#   bring       there: what has learned, as a checkpoint has it (its weights in pieces), and the logs, for $OUT
set -euo pipefail
python=${PYTHON:-python3}
code=${CODE:-$PWD}
parts=5 nears=(${NEARS:-0.3 0.5})
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$code:/tmp/site

fill() {
    rm -rf build/carry-reader-* build/reader; mkdir -p build/reader
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d build/reader zstandard
    cp $(ls "$1"/qa-*.zst | grep -v longdocs) "$2"/reading-squad*.xz "$3/tokenizer.json" build/reader/
    "$python" -m model.training.halve "$3/model.safetensors" build/reader/mpnet.safetensors
    cp -r model/mini/reader build/reader/start
    tar c -C build/reader . | split -b 53200000 -d -a 1 --numeric-suffixes=1 - build/reader-part-
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

step() { # STEP CARD FOLDER …: a step of `model.training` on a card, over what was taken
    local kind=$1 card=$2 folder=$3; shift 3
    (cd "$code" && CUDA_VISIBLE_DEVICES=$card OMP_NUM_THREADS=2 "$python" -m model.training "$kind" --folder "$folder" \
        --corpus /tmp/in --eval /tmp/in --encoder /tmp/encoder --every "${EVERY:-2}" "$@")
}

on_cards() { # STEP KIND …: a step of a kind's on every card, each with its own seed and share of lessons
    local what=$1 kind=$2 card running=() own=0 workers=$((cores / cards)); shift 2
    if [ "$kind" = reader ]; then own=500; workers=$((workers > 2 ? workers - 2 : workers)); fi  # mentors learn meanwhile
    for card in $(seq 0 $((cards - 1))); do
        RANK=$card LOCAL_RANK=$card step "$what" "$card" "/tmp/$kind$card" --width "${WIDTH:-128}" --workers "$workers" \
            --step-tokens "${TOKENS:-65536}" --seed $((1 + own + 1000 * card)) --near "${nears[card % ${#nears[@]}]}" "$@" \
            > "/tmp/$what-$kind$card.log" 2>&1 & running+=($!)
    done
    for card in "${running[@]}"; do wait "$card" || touch /tmp/failed; done
    [ ! -e /tmp/failed ]
}

learn() { # a mentor knows its lessons by heart in the end: the reader has others, which are drawn while mentors learn
    local cores card drawn
    cores=$(getconf _NPROCESSORS_ONLN); cards=$(nvidia-smi -L 2> /dev/null | wc -l) || true; cards=${CARDS:-$((cards > 0 ? cards : 1))}
    mkdir -p $(seq -f /tmp/mentor%g 0 $((cards - 1))) $(seq -f /tmp/reader%g 0 $((cards - 1)))
    on_cards lessons mentor --lessons "${LESSONS:-600000}"
    on_cards lessons reader --lessons "${READ:-2200000}" & drawn=$!
    on_cards mentor mentor --seconds "${MENTOR:-240}" --passes 4 --rate "${RATE_ABOVE:-1e-4}"
    wait "$drawn"
    for card in $(seq 0 $((cards - 1))); do mv "/tmp/mentor$card/mentor.pt" "/tmp/mentor-$card.pt"; done
    for card in $(seq 0 $((cards - 1))); do ln -s $(ls /tmp/mentor-*.pt | head -n "${HEARD:-2}") "/tmp/reader$card/"; done
    local start=${START-/tmp/in/start}
    export WORLD_SIZE=$cards MASTER_ADDR=127.0.0.1 MASTER_PORT=29511  # what torchrun would say: all teach one
    on_cards reader reader --seconds $(($(cat /tmp/begun) + ${END:-1580} - $(date +%s))) --passes 40 --rate "${RATE:-1.5e-4}" \
        ${start:+--start $start}
    touch /tmp/done
}

wait_for() {
    local until=$(($(date +%s) + $1))
    [ -e /tmp/learned.log ] || { echo "nothing is learning here: give the machine back"; touch /tmp/failed; }
    while [ "$(date +%s)" -lt "$until" ] && [ ! -e /tmp/done ] && [ ! -e /tmp/failed ]; do sleep 1; done
    tail -n 3 /tmp/learned.log /tmp/*-mentor?.log /tmp/*-reader?.log 2> /dev/null || true
    [ ! -e /tmp/failed ]
}

bring() {
    step ship 0 /tmp/reader0 --out /tmp/shipped
    cp /tmp/shipped/reader/*.json "$OUT/"
    tail -n +1 /tmp/*-mentor?.log /tmp/*-reader?.log > "$OUT/learned.log"  # few files may come back at once
    split -b 15000000 -d -a 1 /tmp/shipped/reader/model.safetensors "$OUT/model.safetensors."
}

case ${1-} in
    fill | take | learn | bring) "$@" ;;
    wait) wait_for "$2" ;;
    *) sed -n '2,10s/^# //p' "$0"; exit 2 ;;
esac
