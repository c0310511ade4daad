"""What answers were worth, summed by row of a table: counted by one process or by many, and drawn by length."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from app import session
from model.training.evaluate import f1, normalise

Row = tuple[str, str]
"""What was asked about, and with which evidence."""


class Tally:
    """Sums of what was measured, by row of a table."""

    def __init__(self) -> None:
        self.sums: dict[Row, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def add(self, row: Row, answer: session.Answer, golds: Sequence[str], all_of: bool = False) -> None:
        """Count an answer. golds: strings that it must hold (all of them), or of which the best counts."""
        sums = self.sums[row]
        said = answer.answer if answer.found else ""
        held = [normalise(gold) in normalise(said) for gold in golds]
        sums["asked"] += 1
        sums["right"] += all(held) if all_of else any(held)
        sums["f1"] += max((f1(said, gold) for gold in golds), default=0.0)
        sums["exact"] += any(normalise(said) == normalise(gold) for gold in golds)
        sums["refused"] += not answer.found
        sums["first token"] += answer.seconds_to_first_token
        sums["read"] += answer.tokens_read
        sums["behind"] += answer.tokens_reused
        for citation in answer.citations:
            sums["shown"] += 1
            sums["verified"] += citation.verified
            supports = citation.verified and any(normalise(gold) in normalise(citation.quote) for gold in golds)
            sums["supports"] += supports
            sums["sure"] += not answer.nearest  # no close choice
            sums["sure supports"] += supports and not answer.nearest
        sums["recalled"] += any(
            citation.verified and any(normalise(gold) in normalise(citation.quote) for gold in golds)
            for citation in answer.citations
        )

    def save(self, path: Path) -> None:
        """Keep the sums in a file, whole at every moment."""
        whole = path.with_suffix(".part")
        whole.write_text(json.dumps([[*row, sums] for row, sums in self.sums.items()]), "utf-8")
        whole.replace(path)

    @staticmethod
    def joined(paths: Iterable[Path]) -> "Tally":
        """What several processes kept, as if one had counted."""
        tally = Tally()
        for path in paths:
            for name, evidence, sums in json.loads(path.read_text("utf-8")):
                for key, value in sums.items():
                    tally.sums[name, evidence][key] += value
        return tally

    def table(self, first: str) -> list[str]:
        """The rows as a Markdown table, in per cent but for the last three columns."""
        lines = [f"| {first} | evidence | asked | right | F1 | exact | refused | quotes verified | quotes that hold "
                 "the answer | … and were no close choice | answers with such a quote | first token, s | tokens read "
                 "| behind |", "|---" * 14 + "|"]
        for row, s in self.sums.items():
            n, shown = s["asked"], max(1, s["shown"])
            shares = [100 * s[key] / n for key in ("right", "f1", "exact", "refused")]
            shares += [100 * s["verified"] / shown, 100 * s["supports"] / shown,
                       100 * s["sure supports"] / max(1, s["sure"]), 100 * s["recalled"] / n]
            cells = [*row, f"{n:.0f}", *(f"{share:.0f}" for share in shares), f"{s['first token'] / n:.2f}",
                     f"{s['read'] / n:.0f}", f"{s['behind'] / n:,.0f}"]
            lines.append("| " + " | ".join(cells) + " |")
        return lines

    def by_length(self) -> list[str]:
        """Right answers as a Markdown table, a row for a kind and a column for a length: of those asked, with evidence
        and (in brackets) from the state alone."""
        lengths, kinds = self._lengths(), self._kinds()
        lines = ["| right, with evidence (from the state alone) | " + " | ".join(f"{n:,}" for n in lengths) + " |"]
        lines.append("|---" * (len(lengths) + 1) + "|")
        for kind in kinds:
            cells = []
            for length in lengths:
                auto, none = (self.sums.get((f"{kind}, {length:,}", evidence)) for evidence in ("auto", "none"))
                cells.append(f"{auto['right']:.0f} of {auto['asked']:.0f} ({none['right'] if none else 0:.0f})"
                             if auto else "–")
            lines.append(f"| {kind} | {' | '.join(cells)} |")
        return lines

    def draw(self, path: Path) -> None:
        """Right answers by length, a panel for each kind: with evidence, and from the state alone. Needs the extra
        `bench`."""
        from matplotlib import pyplot

        lengths, kinds = self._lengths(), self._kinds()
        columns = math.ceil(len(kinds) / 2)
        figure, panels = pyplot.subplots(2, columns, figsize=(2.6 * columns, 4.6), sharex=True, sharey=True)
        lines = {"auto": ("with evidence", "o-"), "none": ("from the state alone", "s--")}
        for axes, kind in zip_longest(panels.flat, kinds):
            if kind is None:
                axes.set_axis_off()
                continue
            for evidence, (label, form) in lines.items():
                found = [self.sums.get((f"{kind}, {length:,}", evidence)) for length in lengths]
                points = [(n, 100 * s["right"] / s["asked"]) for n, s in zip(lengths, found, strict=True) if s]
                axes.plot(*zip(*points, strict=True), form, markersize=4, label=label, clip_on=False)
            axes.set(xscale="log", ylim=(0, 100))
            axes.set_title(kind, fontsize=10)
            axes.set_xticks(lengths, [f"{n // 1000}k" for n in lengths], fontsize=8)
            axes.minorticks_off()
            axes.tick_params(labelbottom=True)
            axes.grid(alpha=0.3)
        figure.supylabel("right answers, %", fontsize=10)
        figure.supxlabel("tokens of the text", fontsize=10)
        handles = panels.flat[0].get_lines()
        figure.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.98, 0.2), fontsize=9)
        figure.tight_layout()
        figure.savefig(path, dpi=110)

    def _lengths(self) -> list[int]:
        return sorted({int(name.rsplit(", ", 1)[1].replace(",", "")) for name, _ in self.sums})

    def _kinds(self) -> list[str]:
        return list(dict.fromkeys(name.rsplit(", ", 1)[0] for name, _ in self.sums))
