"""`onceread model`: what the model is, what memory it takes in each form, and where it fits. Nothing is loaded."""

import argparse
from typing import Any

from app.about import about, memory_plan
from app.commands.outcome import Command, Outcome, Stop
from app.home import Home
from app.words import size


def register(command: Command) -> None:
    """Add the command."""
    parser = command("model", model, "what the model is, what memory it needs, and where it fits")
    parser.add_argument("path", nargs="?", metavar="PATH", help="a checkpoint folder (default: the model in use)")
    parser.add_argument("--context", type=int, metavar="N", help="plan for so many tokens (default: the model's most)")


def model(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread model`: shape, size, fingerprint, device, plan."""
    plan = memory_plan(home, options.context)
    facts = about(home)
    lines = [f"{name.replace('_', ' '):22} {value}" for name, value in facts.items() if value is not None]
    if plan["tensors"] is None:
        lines.append("the weights are not there yet: what follows is from config.json")
    return {**facts, "plan": plan}, "\n".join([*lines, "", *_in_words(plan, facts["device"])]), 0


def _in_words(plan: dict[str, Any], device: str) -> list[str]:
    """The plan as two tables."""
    there = {form: row for form, row in plan["forms"].items() if row}
    columns = ("experts", "dense", "embeddings", "weights", "total")
    heads = "".join(f"{name:>12}" for name in columns)
    lines = [f"{'':8}{heads}   on {device}, {size(plan['free_bytes'])} free"]
    for form, row in there.items():
        sizes = "".join(f"{size(row[f'{name}_bytes']):>12}" for name in columns)
        lines.append(f"{form:8}{sizes}   {'fits' if row['fits'] else _as_far(row['longest_tokens'])}")
    lines += [f"{form:8}not for experts of this width" for form, row in plan["forms"].items() if not row]
    lines += [
        f"total: with a state of {plan['context']:,} tokens ({size(plan['latents_bytes'])} of latents, "
        f"{size(plan['kda_bytes'])} of KDA state), about {size(plan['workspace_bytes'])} to work in and one question; "
        f"each question more at once takes {size(plan['question_bytes'])}",
        "",
        "tokens on a card of" + "".join(f"{card['card']:>12}" for card in plan["cards"]),
    ]
    for form in there:
        longest = [card["longest_tokens"].get(form) for card in plan["cards"]]
        lines.append(f"{form:19}" + "".join(f"{f'{tokens:,}' if tokens else '–':>12}" for tokens in longest))
    return lines


def _as_far(tokens: int) -> str:
    return f"fits to {tokens:,} tokens" if tokens else "does not fit"
