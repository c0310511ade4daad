"""Whether every way to a state gives the same next logits to the bit, on the device that `$ONCEREAD_DEVICE` names.

Models: mini, and random weights at the 48B's width with four layers (three KDA, one MLA) and 16 experts. Chunks of 64
tokens and pages of 128, as in `tests/app/test_exactness.py`, so that several of each are met.
"""

import os
import tempfile
from pathlib import Path

import torch

from app.settings import MINI, Settings
from tests import checkpoints
from tests.app.test_exactness import WAYS, next_logits
from tests.storage.kills import small_pages

PARTS = "mini,wide"
WIDE = checkpoints.PUBLISHED | {
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": 320, "num_experts": 16,
    "num_hidden_layers": 4, "linear_attn_config": checkpoints.PUBLISHED["linear_attn_config"] | {
        "full_attn_layers": [4], "kda_layers": [1, 2, 3],
    },
}


def run() -> list[str]:
    """Compare; returns the lines of a Markdown table."""
    device = os.environ.get("ONCEREAD_DEVICE", "cpu")
    names = [way.__name__.replace("_", " ") for way in WAYS]
    lines = [f"| model, latents, on {device} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    with tempfile.TemporaryDirectory() as place, small_pages():
        models = [("mini", MINI)] if "mini" in PARTS else []
        if "wide" in PARTS:
            models.append(("the 48B's width, 4 layers", checkpoints.write(Path(place) / "wide", **WIDE)))
        for model, folder in models:
            for rounded in (False, True):
                own = Path(place) / f"{model} {rounded}"
                logits = next_logits(Settings(own / "home", folder, device, round_latents=rounded), own)
                same = [torch.equal(each, logits["fresh"]) for each in logits.values()]
                cells = ["the same bits" if one else "**differs**" for one in same]
                lines.append(f"| {model}, {'8 bits' if rounded else 'exact'} | {' | '.join(cells)} |")
    return lines
