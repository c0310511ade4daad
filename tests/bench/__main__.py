"""`python -m tests.bench NAME …`: measure, and print a table. Results worth keeping go into RESULTS.md."""

import argparse
import platform
from collections.abc import Callable
from datetime import date

import torch

from tests.bench import extract, fuzz, resume

BENCHES: dict[str, Callable[[], list[str]]] = {"extract": extract.run, "fuzz": fuzz.run, "resume": resume.run}


def main() -> None:
    """Run the named benches one after another, under a line that says where."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(BENCHES))
    parser.add_argument("--inputs", type=int, default=fuzz.INPUTS, help="fuzz: how many damaged files")
    options = parser.parse_args()
    names, fuzz.INPUTS = options.names, options.inputs
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    print(f"{date.today()}, {device}, {torch.get_num_threads()} threads, "
          f"Python {platform.python_version()}, torch {torch.__version__}\n")
    for name in names:
        print(*BENCHES[name](), sep="\n", end="\n\n", flush=True)


def _processor() -> str:
    units = ("amx_tile", "avx512_bf16", "avx512", "avx2")
    has = next((unit for unit in units if getattr(torch.cpu, f"_is_{unit}_supported")()), "no vector unit")
    return f"{platform.machine()} CPU ({has})"


if __name__ == "__main__":
    main()
