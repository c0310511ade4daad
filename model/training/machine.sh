#!/usr/bin/env bash
# One run on a GPU machine that is lent call by call: each step is a call, given what it carries in .carry/.
#   fill               here: what each of the six calls carries, into build/carry-1 … build/carry-6
#   take N             there, N = 1 … 6: puts what came with call N in its place and starts what can start
#   wait SECONDS       there: the log's end after so long, or as soon as the run has ended or broken; it fails where
#                      training has not begun LATEST seconds after `take 1`
#   bring 1|2          there: the trained folder, in pieces for $OUT (1 also waits for the end and exports it)
# Questions are written on one card, in a lease of its own or before; `fill` takes what is in build/questions along:
#   fill_write         here: what each of the nine calls carries, into build/carry-written-1 … build/carry-written-9
#   take_write N       there, N = 1 … 9: puts what came with call N in its place
#   learn              there: LEARN seconds of learning to ask and to read, side by side
#   write              there: WRITE seconds of asking; another SEED asks about other texts
#   bring_write        there: the question files, for $OUT
# While samples are drawn one card compiles what training needs, from a few of its own (WARM seconds at most).
# Between two calls a machine is kept for seconds only: send them all at once, and let `wait` last to the end.
# END: seconds after `take 1` at which training ends. While /tmp/busy exists training does not begin: something else may
# use the cards until samples are drawn. MINI: the folder with the weights to go on from.
set -euo pipefail
end=${END:-1400}
gpus=${GPUS:-$(nvidia-smi -L 2>/dev/null | grep -c GPU || true)}
python=${PYTHON:-python3}
code=${CODE:-/tmp/code}
mini=${MINI:-model/mini}
paths=(--folder /tmp/run --corpus /tmp/in --eval /tmp/in --gguf /tmp/teacher.gguf
       --tokenizer "$code/model/mini/tokenizer.json")
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$code:/tmp/site

fill() { # CORPUS EVAL GGUF
    rm -rf build/carry-[1-6]; mkdir -p build/carry-{1,2,3,4,5,6}
    "$python" -m pip download -q --no-deps -d build/carry-1 flash-linear-attention fla-core
    wheels build/carry-1
    cp $(ls "$1"/qa-*.zst | grep -v -e longdocs -e medquad) "$2"/books.jsonl.xz build/carry-1/
    if compgen -G 'build/questions/qa-written-*' >/dev/null; then cp build/questions/qa-written-* build/carry-1/; fi
    cp "$1"/books-0[01]* "$1"/code-00* "$1"/docs-01* build/carry-2/
    split -b 42000000 -d "$3" build/teacher-; cp "$1"/docs-00* build/teacher-00 build/carry-3/
    mv build/teacher-0[12] build/carry-4/; rm build/teacher-00; cp "$1"/books-02* build/carry-1/
    tar c -C "$mini" $(cd "$mini" && ls config.json ./*.safetensors) | split -b 56000000 -d - build/mini-
    mv build/mini-00 build/carry-5/; mv build/mini-01 build/carry-6/; du -sm build/carry-[1-6]
}

fill_write() { # CORPUS EVAL GGUF ENCODER (a folder: see reader.sh)
    rm -rf build/carry-written-* build/written; mkdir -p build/written/encoder
    wheels build/written
    cp $(ls "$1"/qa-*.zst | grep -v longdocs) "$1"/docs-00* "$1"/books-00* "$2"/reading-squad*.xz build/written/
    cp "$3" build/written/teacher.gguf; cp "$4/tokenizer.json" build/written/encoder/
    "$python" -m model.training.halve "$4/model.safetensors" build/written/encoder/model.safetensors
    tar c -C build/written . | split -b 50000000 -d -a 1 --numeric-suffixes=1 - build/written-part-
    for n in {1..9}; do mkdir -p build/carry-written-$n; mv build/written-part-$n build/carry-written-$n/; done
    rm -r build/written; du -sm build/carry-written-*
}

wheels() { # what the steps need and the machine lacks, into a folder
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        -d "$1" zstandard gguf
}

take() {
    mkdir -p /tmp/in /tmp/run /tmp/log /tmp/code
    if [ "$1" = 1 ]; then
        date +%s >/tmp/begun
        cp -r app kernels model storage ui tests pyproject.toml /tmp/code/
        if compgen -G '.carry/*.whl' >/dev/null; then
            "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site .carry/*.whl
        fi
    fi
    rm -f .carry/*.whl; mv .carry/* /tmp/in/
    case $1 in
        3) behind tasks ;;
        4) cat /tmp/in/teacher-* >/tmp/teacher.gguf ;;
        6) behind tokenise; behind warm_up; behind training ;;
    esac
}

behind() { # a step that goes on when the call is over; where it fails, nothing waits for it
    setsid nohup bash -c "bash /tmp/code/model/training/machine.sh $1 || touch /tmp/run/over" >"/tmp/log/$1" 2>&1 </dev/null &
}

step() { cd "$code" && "$python" -m model.training "$@" "${paths[@]}"; }

take_write() {
    mkdir -p /tmp/written; mv .carry/written-part-* /tmp/written/
    [ "$1" = 9 ] || return 0
    mkdir -p /tmp/in /tmp/site; cat /tmp/written/written-part-* | tar x -C /tmp/in; rm -r /tmp/written
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site /tmp/in/*.whl
    rm /tmp/in/*.whl; mv /tmp/in/teacher.gguf /tmp/in/encoder /tmp/
}

learn() { # on one card side by side; what was learned, and lessons that were drawn, are used again
    mkdir -p /tmp/run
    local cores learning=()
    cores=$(getconf _NPROCESSORS_ONLN)
    paths+=(--encoder /tmp/encoder --seconds "${LEARN:-110}")
    export OMP_NUM_THREADS=2
    if [ ! -e /tmp/run/writer.pt ]; then
        step writer --tokens 12000000 --passes 0.6 --workers "$(((cores + 3) / 4))" & learning+=($!)
    fi
    if [ ! -e /tmp/run/mentor.pt ]; then
        step mentor --rate 1e-4 --passes 1.6 --workers "$(((cores + 1) / 2))" & learning+=($!)
    fi
    for one in "${learning[@]}"; do wait "$one"; done
}

write() {
    OMP_NUM_THREADS=2 step write --encoder /tmp/encoder --seconds "${WRITE:-200}" --seed "${SEED:-1}" \
        --workers "$((($(getconf _NPROCESSORS_ONLN) * 3 + 3) / 4))"
}

bring_write() { cp /tmp/run/qa-written-* "$OUT/"; }

tokenise() { step tokenise books-00 books-01 books-02 docs-00 docs-01 code-00; touch /tmp/run/tokenised; }

tasks() {
    OMP_NUM_THREADS=1 step tasks --workers "${DRAWERS:-$(($(getconf _NPROCESSORS_ONLN) / 2))}" --tokens "${TASKS:-250000000}" --seed "${SEED:-200}"
    touch /tmp/run/drawn
}

training() {
    mkdir -p /tmp/mini; cp /tmp/code/model/mini/*.json /tmp/mini/; cat /tmp/in/mini-* | tar x -C /tmp/mini
    step adopt --out /tmp/mini
    until [ -e /tmp/run/tokenised ] && [ -e /tmp/run/drawn ] && [ -e /tmp/run/warmed ] && [ ! -e /tmp/busy ]; do
        sleep 0.5
    done
    # Each rank sees one card only, as the first: what was compiled for that one then serves all.
    cd /tmp/code
    OMP_NUM_THREADS=8 "$python" -m torch.distributed.run --nproc-per-node="$gpus" --no-python \
        bash -c 'CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-$LOCAL_RANK} exec "$@"' rank \
        "$python" -m model.training train --plan "${PLAN:-model/training/next.json}" \
        --until "$(($(cat /tmp/begun) + end))" "${paths[@]}"
    touch /tmp/run/over
}

warm() {
    until [ -e /tmp/run/init.pt ] && grep -qs books-00 /tmp/log/tokenise; do sleep 0.5; done
    mkdir -p /tmp/warm; ln -sf /tmp/run/{init.pt,config.json,books-00.npy} /tmp/warm/
    paths[1]=/tmp/warm; OMP_NUM_THREADS=1 step tasks --tokens 600000 --seed 999
    step train --plan "${WARM_PLAN:-model/training/warm.json}"
}

warm_up() { # `warm`, or without it: training compiles what is missing
    timeout "${WARM:-240}" bash "$code/model/training/machine.sh" warm || true
    touch /tmp/run/warmed
}

wait_for() {
    local last=$((SECONDS + $1))
    until [ -e /tmp/run/over ] || [ $SECONDS -ge "$last" ]; do
        if [ ! -e /tmp/run/log.jsonl ] && [ $(($(date +%s) - $(cat /tmp/begun))) -ge "${LATEST:-480}" ]; then
            echo "training has not begun: give the machine back" >&2
            tail -n 4 /tmp/log/*
            return 1
        fi
        sleep 1
    done
    tail -n 4 /tmp/log/*; tail -n 6 /tmp/run/log.jsonl || true
}

bring() {
    if [ "$1" = 1 ]; then
        until [ -e /tmp/run/over ]; do sleep 1; done  # or what comes home is an earlier checkpoint
        mkdir -p /tmp/out; step export --out /tmp/out
        tar c -C /tmp/out . | split -b 15000000 -d - /tmp/mini-new-
        cp /tmp/run/log.jsonl "$OUT/"; cp /tmp/mini-new-0[0-3] "$OUT/"
    else
        cp /tmp/mini-new-0[4-9] "$OUT/"
    fi
}

case $1 in
    wait) wait_for "$2" ;;
    fill | take | bring | fill_write | take_write | learn | write | bring_write | tokenise | tasks | training | warm | warm_up)
        "$@"
        ;;
    *) sed -n '2,18s/^# //p' "$0"; exit 2 ;;
esac
