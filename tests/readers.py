"""Small readers with random weights, as a checkpoint has them."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from model import ternary
from model.quantize import round_trip
from model.training import shipping
from model.training.reader import Reader

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789.,?'-():#",
          *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"), "the", "mill", "built", "##ing", "river", "who"]

BIAS = "bert.encoder.relative_attention_bias.weight"


def tokenizer(folder: Path) -> Path:
    """A WordPiece tokenizer of few pieces, in the file that sentence-transformers would give it."""
    made = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(PIECES[:5])
    made.enable_truncation(8)
    made.save(str(folder / "wordpiece.json"))
    return folder / "wordpiece.json"


def small(hidden: int = 192, layers: int = 2) -> Reader:
    """Small layers with random weights: 12 heads, as every reader here has."""
    torch.manual_seed(5)
    model = Reader(layers, len(PIECES), hidden, inner=128)
    for name, p in model.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    return model.eval()


def rounded(reader: Reader) -> Reader:
    """A reader as it is read back from its folder, in float32."""
    twin = reader.twin().float()
    for name, one in twin.state_dict().items():
        if twin.ternary and name.startswith("layers.") and one.dim() == 2:
            one.copy_(ternary.round_trip(one))
        else:
            on_grid = shipping.is_on_grid(one)
            one.copy_(round_trip(one, shipping.BITS, shipping.GROUP) if on_grid else one.bfloat16())
    return twin.eval()


def write(checkpoint: Path, reader: Reader | None = None) -> Path:
    """A reader beside a checkpoint's weights; returns its folder."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    file = tokenizer(checkpoint)
    used = range(len(json.loads(file.read_text("utf-8"))["model"]["vocab"]))
    shipping.ship(reader or small(), file, [*used], checkpoint / "reader")
    file.unlink()
    return checkpoint / "reader"


def write_mpnet(checkpoint: Path, three_values: bool) -> tuple[Path, dict[str, Tensor]]:
    """A reader whose attention has a bias for distances, as MPNet's, and whose layers' matrices may have three values;
    returns its folder, and its tensors as they are read back, in float32."""
    folder = write(checkpoint)
    file = folder / "model.safetensors"
    stored, back = load_file(file), shipping.tensors(rounded(small()))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    stored[BIAS] = torch.randn(32, 12, generator=torch.Generator().manual_seed(7)).bfloat16()
    back[BIAS] = stored[BIAS].float()
    config["relative_attention_num_buckets"] = 32
    if three_values:
        config["quantization"]["layers"] = "ternary"
        for name, one in shipping.tensors(small()).items():
            if ".layer." in name and one.dim() == 2:
                packed = ternary.pack(one)
                for part in ("q", "scale", "zero"):
                    del stored[f"{name}.{part}"]
                stored |= {f"{name}.packed": packed.packed, f"{name}.scale": packed.scale}
                back[name] = ternary.round_trip(one)
    save_file(stored, file)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder, back
