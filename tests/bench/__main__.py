"""`python -m tests.bench NAME …`: measure, and print a table. Results worth keeping go into RESULTS.md.

A name is a module beside this one whose `run` gives the lines. It is imported when asked for: a GPU machine has not
every library of the application.
"""

import argparse
import importlib
import platform
from datetime import date

import torch

BENCHES = (
    "answers", "crash", "devices", "engine", "evidence", "exactness", "extract", "fuzz", "kda", "latents", "linear",
    "load", "mini", "mla", "moe", "packers", "page", "places", "reports", "resume", "storage",
)


OPTIONS = (
    "inputs", "tokens", "rows", "lengths", "seeds", "kinds", "keep", "texts", "plot", "longest", "layers", "experts",
    "weights", "parts",
)


def main() -> None:
    """Run the named benches one after another, under a line that says where."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="+", choices=BENCHES)
    parser.add_argument("--inputs", type=int, help="fuzz: how many damaged files")
    parser.add_argument("--tokens", type=int, help="devices, engine, latents, mini, reports, resume: of the text")
    parser.add_argument("--rows", type=int, help="answers, evidence, latents: questions of each reading set")
    parser.add_argument("--lengths", help="answers: of the made-up texts, in tokens (1000,4000)")
    parser.add_argument("--seeds", help="answers, crash: of the made-up texts, of what is cut, filled and killed (0,1)")
    parser.add_argument("--kinds", help="answers: of the made-up texts (hay,words,code)")
    parser.add_argument("--keep", metavar="PATH", help="answers: sums of one process, or a folder of many to print; "
                        "reports: a folder to leave both reports in")
    parser.add_argument("--texts", metavar="FOLDER", help="reports: ten whole books (.txt), not the openings of some")
    parser.add_argument("--plot", metavar="FILE", help="answers: draw right answers by length")
    parser.add_argument("--longest", type=float, help="reports: seconds from a start to its kill, at most")
    parser.add_argument("--layers", type=int, help="engine, load: the first layers only")
    parser.add_argument("--experts", type=int, help="engine, load: experts of a layer")
    parser.add_argument("--weights", help="engine, load: bf16, fp8 or int4 experts (load: several, with commas)")
    parser.add_argument("--parts", help="what to measure; engine: short,many,long,stages,parity,resume,million; "
                        "answers: made,reading,hostile; crash: power,full,bits,kill; exactness: mini,wide; "
                        "reports: together,books,killed")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    print(f"{date.today()}, {device}, {torch.get_num_threads()} threads, "
          f"Python {platform.python_version()}, torch {torch.__version__}\n")
    for name in options.names:
        bench = importlib.import_module(f"tests.bench.{name}")
        for option in OPTIONS:
            if (value := getattr(options, option)) and hasattr(bench, option.upper()):
                setattr(bench, option.upper(), value)
        for line in bench.run():
            print(line, flush=True)
        print(flush=True)


def _processor() -> str:
    units = ("amx_tile", "avx512_bf16", "avx512", "avx2")
    has = next((unit for unit in units if getattr(torch.cpu, f"_is_{unit}_supported")()), "no vector unit")
    return f"{platform.machine()} CPU ({has})"


if __name__ == "__main__":
    main()
