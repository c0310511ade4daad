#!/usr/bin/env bash
# One run on a GPU machine that is lent call by call: each step is a call, given what it carries in .carry/.
#   fill               here: what each of the six calls carries, into build/carry-1 … build/carry-6
#   take N             there, N = 1 … 6: puts what came with call N in its place and starts what can start
#   wait SECONDS       there: the log's end after so long, or as soon as the run has ended or broken
#   bring 1|2          there: the trained folder, in pieces for $OUT (1 also exports it)
# Between two calls a machine is kept for seconds only: send them all at once, and let `wait` last to the end.
# END: seconds after `take 1` at which training ends.
set -euo pipefail
end=${END:-1400}
gpus=${GPUS:-$(nvidia-smi -L 2>/dev/null | grep -c GPU || true)}
python=${PYTHON:-python3}
paths=(--folder /tmp/run --corpus /tmp/in --eval /tmp/in --gguf /tmp/teacher.gguf
       --tokenizer /tmp/code/model/mini/tokenizer.json)
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=/tmp/code:/tmp/site

fill() { # CORPUS EVAL GGUF
    rm -rf build/carry-*; mkdir -p build/carry-{1,2,3,4,5,6}
    "$python" -m pip download -q --no-deps -d build/carry-1 flash-linear-attention fla-core
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        -d build/carry-1 zstandard gguf
    cp "$1"/qa-*.zst "$1"/docs-00* "$2"/books.jsonl.xz build/carry-1/
    cp "$1"/books-0[01]* "$1"/code-00* build/carry-2/
    split -b 49500000 -d "$3" build/teacher-; mv build/teacher-00 build/carry-3/; mv build/teacher-01 build/carry-4/
    tar c -C model/mini $(cd model/mini && ls ./*.safetensors) | split -b 50000000 -d - build/mini-
    mv build/mini-00 build/carry-5/; mv build/mini-01 build/carry-6/; du -sm build/carry-*
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
        2) behind tokenise; behind tasks ;;
        4) cat /tmp/in/teacher-* >/tmp/teacher.gguf ;;
        6) behind training ;;
    esac
}

behind() { # a step that goes on when the call is over; where it fails, nothing waits for it
    setsid nohup bash -c "bash /tmp/code/model/training/machine.sh $1 || touch /tmp/run/over" >"/tmp/log/$1" 2>&1 </dev/null &
}

step() { cd /tmp/code && "$python" -m model.training "$@" "${paths[@]}"; }

tokenise() { step tokenise books-00 books-01 docs-00 code-00; touch /tmp/run/tokenised; }

tasks() {
    OMP_NUM_THREADS=1 step tasks --workers "$(($(getconf _NPROCESSORS_ONLN) / 2))" --tokens "${TASKS:-250000000}" --seed "${SEED:-200}"
    touch /tmp/run/drawn
}

training() {
    mkdir -p /tmp/mini; cp /tmp/code/model/mini/*.json /tmp/mini/; cat /tmp/in/mini-* | tar x -C /tmp/mini
    step adopt --out /tmp/mini
    until [ -e /tmp/run/tokenised ] && [ -e /tmp/run/drawn ]; do sleep 0.5; done
    cd /tmp/code
    OMP_NUM_THREADS=8 "$python" -m torch.distributed.run --nproc-per-node="$gpus" -m model.training train \
        --plan "${PLAN:-model/training/next.json}" --until "$(($(cat /tmp/begun) + end))" "${paths[@]}"
    touch /tmp/run/over
}

wait_for() {
    local last=$((SECONDS + $1))
    until [ -e /tmp/run/over ] || [ $SECONDS -ge "$last" ]; do sleep 1; done
    tail -n 4 /tmp/log/*; tail -n 6 /tmp/run/log.jsonl || true
}

bring() {
    if [ "$1" = 1 ]; then
        mkdir -p /tmp/out; step export --out /tmp/out
        tar c -C /tmp/out . | split -b 15000000 -d - /tmp/mini-new-
        cp /tmp/run/log.jsonl "$OUT/"; cp /tmp/mini-new-0[0-3] "$OUT/"
    else
        cp /tmp/mini-new-0[4-9] "$OUT/"
    fi
}

case $1 in
    wait) wait_for "$2" ;;
    fill | take | bring | tokenise | tasks | training) "$@" ;;
    *) sed -n '2,9s/^# //p' "$0"; exit 2 ;;
esac
