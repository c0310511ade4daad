#!/usr/bin/env bash
# A call on a machine of four cards (98 GB of weights a card: H200): what model/NOTES.md wants measured, on four at once.
# Cards share the processor, so figures that wait for it (cutting into tokens, saving) are worse than alone.
#   gpu_four_cards.sh SECONDS     every card stops after so long; .carry/anchors.py, if it came, is the peers' bench
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/gpu_prepare.sh
rm -rf .whl .triton  # in place: the lanes need not unpack them again
limit=$1

lane() { # CARD COMMAND …
    local card=$1; shift; mkdir -p "$out/$card"
    CUDA_VISIBLE_DEVICES=$card LANE=$card OUT=$out/$card timeout -k 5 "$limit" "$@" >"$out/$card/all.log" 2>&1 &
}

call=tests/bench/gpu_engine_call.sh
lane 0 bash $call
lane 1 env UNTESTED=1 bash -c "bash $call --weights fp8 --parts short,many,long; bash $call --weights int4 --parts short,many,long"
lane 2 bash -c "test ! -e .carry/anchors.py || timeout 90 $python .carry/anchors.py ceilings hf
    timeout 60 $python -m tests.bench moe"
lane 3 env UNTESTED=1 bash $call --parts resume --tokens 1040000
wait
unset LANE; keep_cache
for card in 0 1 2 3; do echo; echo "== card $card"; tail -n 45 "$out/$card/all.log"; done
