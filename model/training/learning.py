"""The command line's steps in which readers and the writer of questions learn, and what is then done with them."""

from __future__ import annotations

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from model.reader import FOLDER
from model.training import (
    data,
    evaluate,
    lessons,
    mentor,
    passages,
    reader,
    shipping,
    teacher,
    threes,
    tuning,
    writing,
)
from model.training.pools import Pools
from model.training.ranks import Ranks, join, part


def draw_lessons(args: argparse.Namespace, kind: str, worker: int) -> int:
    """One worker's file of lessons of a kind; a finished file is kept."""
    file = args.folder / f"lessons-{kind}-{worker:02d}.npz"
    if file.exists():
        return 0
    pools = Pools(args.corpus, random.Random(args.seed + worker))
    if kind == "writer":
        return lessons.asking(pools, data.plain_tokenizer(args.tokenizer), args.tokens // args.workers, file)
    return lessons.reading(pools, reader.read_tokenizer(args.encoder / "tokenizer.json"), args.lessons // args.workers,
                           file, args.near)


def draw(args: argparse.Namespace) -> list[Path]:
    """Files of lessons in the run's folder, drawn by several workers; those of the mentor and the reader are alike."""
    lesson = "writer" if args.step == "writer" else "reader"
    with ProcessPoolExecutor(args.workers) as pool:
        found = list(pool.map(draw_lessons, *zip(*[(args, lesson, n) for n in range(args.workers)], strict=True)))
    print(json.dumps({"lessons": lesson, "count": sum(found)}), flush=True)
    return sorted(args.folder.glob(f"lessons-{lesson}-*.npz"))


def learn(args: argparse.Namespace) -> None:
    """The lessons of the writer, or of the mentor and the reader, if they are not drawn yet, and then what has learned
    from them, into the run's folder; mentor and reader with their scores on held-out questions. The reader learns from
    what all mentors say that are there (mentor*.pt), and begins as the first of them, or goes on from one that was
    shipped (`start`); several ranks teach it together (see `ranks`), each from its own lessons."""
    torch._dynamo.config.recompile_limit = 64
    kind, device, dtype = args.step, *place()
    files = draw(args)
    learned: torch.nn.Module
    ranks = join(device) if kind == "reader" else Ranks()
    if kind == "writer":
        learned = tuning.writer(teacher.load(args.gguf, device, dtype), files, args.seconds, args.step_tokens,
                                args.passes)
    elif kind == "mentor":
        start = mentor.load(args.encoder / "model.safetensors", dtype, device)
        learned = tuning.reader(start, files, args.seconds, args.step_tokens, args.passes, args.rate)
    else:
        above = [mentor.trained(mentor.Mentor, each, dtype, device) for each in sorted(args.folder.glob("mentor*.pt"))]
        if not above:
            raise SystemExit(f"no mentor*.pt in {args.folder}: let one learn first (the step `mentor`)")
        read = sum(np.bincount(np.load(file)["ids"], minlength=reader.PIECES) for file in files)
        begun = threes.begin(above[0], torch.from_numpy(read), args.width)
        if args.start:
            shipping.take_up(begun, args.start, args.encoder / "tokenizer.json")
        for each in above if device == "cuda" else []:
            each.compile_layers()
        learned = tuning.reader(begun, files, args.seconds, args.step_tokens, args.passes, args.rate, above,
                                shipping.stored_bits(begun), ranks)
    if ranks.first:
        if isinstance(learned, reader.Reader):
            _tell_scores(learned, args)
        torch.save(learned.state_dict(), args.folder / f"{kind}.pt")
    part()


def _tell_scores(learned: reader.Reader, args: argparse.Namespace) -> None:
    for name in ("reading-squad1", "reading-squad2"):
        rows = evaluate.read_rows(args.eval / f"{name}.jsonl.xz")[:: args.every]
        words = reader.read_tokenizer(args.encoder / "tokenizer.json")
        print(json.dumps({"set": name, **tuning.read_scores(learned, rows, words)}), flush=True)


def ship(args: argparse.Namespace) -> None:
    """The reader that has learned, as a checkpoint's: in the folder `reader` beside the model's weights."""
    learned, words = mentor.trained(threes.Threes, args.folder / "reader.pt"), args.encoder / "tokenizer.json"
    used = shipping.used(sorted(args.folder.glob("lessons-reader-*.npz")), json.loads(words.read_text("utf-8")))
    shipping.ship(learned, words, used, args.out / FOLDER)


def write_questions(args: argparse.Namespace) -> None:
    """What `writer` and `mentor` have learned -> questions on the corpus's texts, as question files in the folder."""
    with ProcessPoolExecutor(args.workers) as pool:
        texts = passages.runs(args.corpus, args.seed)
        pool.submit(int).result()  # its processes begin before this one takes the GPU
        device, dtype = place()
        writer = teacher.Teacher().to(device, dtype)
        judge = mentor.trained(mentor.Mentor, args.folder / "mentor.pt", dtype, device)
        writer.load_state_dict(torch.load(args.folder / "writer.pt", weights_only=True, map_location=device))
        if device == "cuda":
            writer.compile_layers()
        files = writing.Words(args.tokenizer, args.encoder / "tokenizer.json")
        found = writing.write(writer, judge, texts, files, pool, args.seed, args.seconds, args.batch)
        print(json.dumps(writing.save(writing.named(found, args.seed), args.folder, args.seed)), flush=True)


def place() -> tuple[str, torch.dtype]:
    """Where models are at work here, and in which type."""
    return ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
