#!/usr/bin/env bash
# A call on a machine of several cards (98 GB of weights a card: H200): what model/NOTES.md wants measured, side by side.
# Cards share the processor, so figures that wait for it (cutting into tokens, saving) are worse than alone.
#   gpu_four_cards.sh SECONDS [LANE …]    every card stops after so long; lanes (default: all four) take card 0, 1, …:
#     step     bf16, the step's tests first      small    fp8, then int4 experts
#     peers    transformers (.carry/anchors.py, if it came), then experts      million   a million saved and resumed
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/gpu_prepare.sh
rm -rf .whl .triton  # in place: the lanes need not unpack them again
limit=$1; shift
lanes=("$@"); [ $# -gt 0 ] || lanes=(step small peers million)
call=tests/bench/gpu_engine_call.sh

lane() {
    case $1 in
        step) bash $call ;;
        small) UNTESTED=1 bash $call --weights fp8 --parts short,many,long
               UNTESTED=1 bash $call --weights int4 --parts short,many,long ;;
        peers) test ! -e .carry/anchors.py || timeout 90 "$python" .carry/anchors.py ceilings hf
               timeout 60 "$python" -m tests.bench moe ;;
        million) UNTESTED=1 bash $call --parts resume --tokens 1040000 ;;
        *) echo "no lane $1" ;;
    esac
}

export -f lane; export call python
for card in "${!lanes[@]}"; do
    name=${lanes[$card]}; mkdir -p "$out/$name"
    CUDA_VISIBLE_DEVICES=$card LANE=$name OUT=$out/$name timeout -k 5 "$limit" bash -c "lane $name" >"$out/$name/all.log" 2>&1 &
done
wait
unset LANE; keep_cache
for name in "${lanes[@]}"; do echo; echo "== $name"; tail -n 45 "$out/$name/all.log"; done
