#!/usr/bin/env bash
# The first call on a GPU machine: are the kernels right, then how fast are they; tables last. Under 8 minutes.
# kernels/NOTES.md says how to call it. Steps that fail or run out of time do not stop the rest.
#   gpu_first_call.sh [BENCH …]     (default: kda linear)
set -uo pipefail
cd "$(dirname "$0")/../.."
benches=("$@"); [ $# -gt 0 ] || benches=(kda linear)
. tests/bench/gpu_prepare.sh
tests=(tests/kernels tests/model/test_kda.py tests/model/test_mla.py tests/model/test_moe.py)
gluon=test_mla_prefill_gluon_triton.py  # by itself and last: waiting warps that were told apart wrongly wait for ever
long='131072 or long_document'

step short 170 "${check[@]}" "${side_by_side[@]}" "${tests[@]}" --ignore=tests/kernels/$gluon -k "not ($long)"
step long 80 "${check[@]}" "${tests[@]}" --ignore=tests/kernels/$gluon -k "$long"
for name in "${benches[@]}"; do step "$name" 110 "$python" -m tests.bench "$name"; done
step gluon 60 "${check[@]}" tests/kernels/$gluon
keep_cache
for name in short long gluon; do echo; echo "== $name"; grep -E '^(FAILED|ERROR|E  )|passed|failed|error' "$out/$name.log" | tail -25; done
for name in "${benches[@]}"; do echo; echo "== $name"; tail -60 "$out/$name.log"; done
