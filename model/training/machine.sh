#!/usr/bin/env bash
# One run on a GPU machine that is lent call by call: each step is a call, given what it carries in .carry/.
#   fill               here: what each of the six calls carries, into build/carry-1 … build/carry-6
#   take N             there, N = 1 … 6: puts what came with call N in its place and starts what can start
#   warm               there, as soon as there are samples: compiles for one card what training needs
#   wait SECONDS       there: the log's end after so long, or as soon as the run has ended or broken
#   bring 1|2          there: the trained folder, in pieces for $OUT (1 also exports it)
# Between two calls a machine is kept for seconds only: send them all at once, and let `wait` last to the end.
# END: seconds after `take 1` at which training ends. While /tmp/busy exists training does not begin: something else may
# use the cards until samples are drawn. MINI: the folder with the weights to go on from.
set -euo pipefail
end=${END:-1400}
gpus=${GPUS:-$(nvidia-smi -L 2>/dev/null | grep -c GPU || true)}
python=${PYTHON:-python3}
mini=${MINI:-model/mini}
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
    split -b 54000000 -d "$3" build/teacher-; mv build/teacher-00 build/carry-3/; mv build/teacher-01 build/carry-4/
    cp "$1"/docs-01* build/carry-4/; cp "$1"/books-02* build/carry-6/
    tar c -C "$mini" $(cd "$mini" && ls ./*.safetensors) | split -b 56000000 -d - build/mini-
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
        2) behind tasks ;;
        4) cat /tmp/in/teacher-* >/tmp/teacher.gguf ;;
        6) behind tokenise; behind training ;;
    esac
}

behind() { # a step that goes on when the call is over; where it fails, nothing waits for it
    setsid nohup bash -c "bash /tmp/code/model/training/machine.sh $1 || touch /tmp/run/over" >"/tmp/log/$1" 2>&1 </dev/null &
}

step() { cd /tmp/code && "$python" -m model.training "$@" "${paths[@]}"; }

tokenise() { step tokenise books-00 books-01 books-02 docs-00 docs-01 code-00; touch /tmp/run/tokenised; }

tasks() {
    OMP_NUM_THREADS=1 step tasks --workers "$(($(getconf _NPROCESSORS_ONLN) / 2))" --tokens "${TASKS:-250000000}" --seed "${SEED:-200}"
    touch /tmp/run/drawn
}

training() {
    mkdir -p /tmp/mini; cp /tmp/code/model/mini/*.json /tmp/mini/; cat /tmp/in/mini-* | tar x -C /tmp/mini
    step adopt --out /tmp/mini
    until [ -e /tmp/run/tokenised ] && [ -e /tmp/run/drawn ] && [ ! -e /tmp/busy ]; do sleep 0.5; done
    # Each rank sees one card only, as the first: what was compiled for that one then serves all.
    cd /tmp/code
    OMP_NUM_THREADS=8 "$python" -m torch.distributed.run --nproc-per-node="$gpus" --no-python \
        bash -c 'CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES-$LOCAL_RANK} exec "$@"' rank \
        "$python" -m model.training train --plan "${PLAN:-model/training/next.json}" \
        --until "$(($(cat /tmp/begun) + end))" "${paths[@]}"
    touch /tmp/run/over
}

warm() {
    until [ -e /tmp/run/tokenised ] && [ -e /tmp/run/drawn ] && [ -e /tmp/run/init.pt ]; do sleep 0.5; done
    mkdir -p /tmp/warm; ln -sf /tmp/run/{init.pt,books-00.npy,tasks-00.npz} /tmp/warm/
    paths[1]=/tmp/warm; step train --plan "${WARM_PLAN:-model/training/warm.json}"
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
    fill | take | bring | tokenise | tasks | training | warm) "$@" ;;
    *) sed -n '2,11s/^# //p' "$0"; exit 2 ;;
esac
