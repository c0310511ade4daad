"""The picture of the memory: true heights, and nothing where nothing was seen."""

import re
from xml.etree import ElementTree

from app.memory import Memory
from ui import memory

MINI = Memory(fixed=3_300_000, per_token=2_016, attention_per_token=69_120, kda_layers=21, mla_layers=7)


def test_it_says_what_is_constant_what_grows_and_what_it_is_beside() -> None:
    html = memory.panel(MINI, 100_000, ())
    assert "takes 205 MB: 3.3 MB in the 21 KDA layers" in html
    assert "would have kept 6.9 GB, 33.7 times as much" in html
    assert html.count("<svg") == 1  # no speed was seen, and none is drawn


def test_the_drawing_is_to_scale() -> None:
    html = memory.panel(MINI, 1_000, [(500, 100.0), (1_000, 50.0)])
    drawings = [ElementTree.fromstring(svg) for svg in re.findall("<svg.*?</svg>", html)]
    line = next(e for e in drawings[0] if e.get("class") == "or-attention")
    ground = memory.HEIGHT - memory.BOTTOM
    areas = {e.get("class"): e.get("points", "") for e in drawings[0] if e.tag == "polygon"}
    (_, top), *_ = [tuple(map(float, point.split(","))) for point in areas["or-latents"].split()[1:]]
    heights = (ground - float(line.get("y2", 0)), ground - top)
    true = MINI.attention_bytes(1_000) / MINI.bytes(1_000)
    assert abs(heights[0] / heights[1] - true) < 0.1  # drawn to a tenth of a pixel
    assert "50 on the whole" in html


def test_small_documents_do_not_pretend() -> None:
    assert ", less." in memory.panel(MINI, 10, ())
    assert memory.panel(MINI, 1, ())
