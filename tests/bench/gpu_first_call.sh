#!/usr/bin/env bash
# The first call on a GPU machine: are the kernels right, then how fast are they; tables last. Under 8 minutes.
# kernels/NOTES.md says how to call it. Steps that fail or run out of time do not stop the rest.
#   gpu_first_call.sh [BENCH …]     (default: kda linear)
set -uo pipefail
cd "$(dirname "$0")/../.."
benches=("$@"); [ $# -gt 0 ] || benches=(kda linear)
python=${PYTHON:-python3}
out=${OUT:-/tmp/out}; mkdir -p "$out"
export PYTHONUNBUFFERED=1 TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/triton} TRITON_DEFAULT_FP_FUSION=1
mkdir -p "$TRITON_CACHE_DIR"
if [ -f .triton/cache.tgz ]; then tar xzf .triton/cache.tgz -C "$TRITON_CACHE_DIR"; fi
if compgen -G '.whl/*.whl' >/dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl
    export PYTHONPATH=/tmp/site
fi

step() { # NAME SECONDS COMMAND …: its output goes to $out/NAME.log, its verdict here
    local name=$1 limit=$2 start=$SECONDS code; shift 2
    timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1; code=$?
    echo "[$name] exit $code after $((SECONDS - start)) s"
    return $code
}

side_by_side=(); "$python" -c 'import xdist' 2>/dev/null && side_by_side=(-n 12)
tests=(tests/kernels tests/model/test_kda.py tests/model/test_mla.py tests/model/test_moe.py)
gluon=test_mla_prefill_gluon_triton.py  # by itself and last: waiting warps that were told apart wrongly wait for ever
check=("$python" -m pytest -p no:cacheprovider -p no:benchmark --maxfail=80 --durations=8)
long='131072 or long_document'

"$python" -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__, "on",
    torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: a dry run in the interpreter")'
step short 170 "${check[@]}" "${side_by_side[@]}" "${tests[@]}" --ignore=tests/kernels/$gluon -k "not ($long)"
step long 80 "${check[@]}" "${tests[@]}" --ignore=tests/kernels/$gluon -k "$long"
for name in "${benches[@]}"; do step "$name" 110 "$python" -m tests.bench "$name"; done
step gluon 60 "${check[@]}" tests/kernels/$gluon
tar czf "$out/cache.tgz" -C "$TRITON_CACHE_DIR" . && echo "[cache] $(du -h "$out/cache.tgz" | cut -f1) in \$OUT/cache.tgz"
for name in short long gluon; do echo; echo "== $name"; grep -E '^(FAILED|ERROR|E  )|passed|failed|error' "$out/$name.log" | tail -25; done
for name in "${benches[@]}"; do echo; echo "== $name"; tail -60 "$out/$name.log"; done
