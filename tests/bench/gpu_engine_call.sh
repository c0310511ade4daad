#!/usr/bin/env bash
# A call on a GPU machine for the whole engine: is the step right, then the engine's table. Under 10 minutes.
#   gpu_engine_call.sh [OPTION …]     options of `python -m tests.bench engine`, as --parts million
# model/NOTES.md says which calls to make. A step that fails or runs out of time does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/gpu_prepare.sh
tests=(tests/kernels/test_{linear,norm,mla_append,mla_decode,moe_few}_triton.py tests/kernels/test_kda_decode.py
       tests/model/test_{decode,handover,mla,kda,moe}.py)
limit=560
if [ -z "${UNTESTED:-}" ]; then
    step step 120 "${check[@]}" "${side_by_side[@]}" "${tests[@]}" -k 'not 131072 and not 1048576'
    grep -E '^(FAILED|ERROR|E  )|passed|failed|error' "$out/step.log" | tail -25
    limit=440
fi
start=$SECONDS
timeout -k 5 "$limit" "$python" -m tests.bench engine "$@" 2>"$out/engine.err" | tee "$out/engine.log"
echo "[engine] exit ${PIPESTATUS[0]} after $((SECONDS - start)) s"
tail -15 "$out/engine.err"
keep_cache
