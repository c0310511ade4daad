# Sourced by the scripts for a GPU machine, in the repository's root: Python, its packages, Triton's cache, and `step`.
python=${PYTHON:-python3}
out=${OUT:-/tmp/out}; mkdir -p "$out"
export PYTHONUNBUFFERED=1 TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-/tmp/triton} TRITON_DEFAULT_FP_FUSION=1
mkdir -p "$TRITON_CACHE_DIR"
if compgen -G '.triton/cache.tgz*' >/dev/null; then cat .triton/cache.tgz* | tar xz -C "$TRITON_CACHE_DIR"; fi
if compgen -G '.whl/*.whl' >/dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "${SITE:=/tmp/site}" .whl/*.whl
    export PYTHONPATH=$SITE
fi

step() { # NAME SECONDS COMMAND …: its output goes to $out/NAME.log, its verdict here
    local name=$1 limit=$2 start=$SECONDS code; shift 2
    timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1; code=$?
    echo "[$name] exit $code after $((SECONDS - start)) s"
    return $code
}

keep_cache() { # Triton's cache goes home, for the next machine: in parts, since a file may have 16 MiB
    [ -z "${LANE:-}" ] || return 0  # one of several calls at once: the script that makes them keeps it
    tar cz -C "$TRITON_CACHE_DIR" . | split -b 15m - "$out/cache.tgz." && echo "[cache] $(du -ch "$out"/cache.tgz.* | tail -1)"
}

side_by_side=(); "$python" -c 'import xdist' 2>/dev/null && side_by_side=(-n 12)
check=("$python" -m pytest -p no:cacheprovider -p no:benchmark --maxfail=80 --durations=8)
"$python" -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__, "on",
    torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: a dry run in the interpreter")'
