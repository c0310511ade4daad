"""What helps a model to answer, as its own folder says: how much evidence it is shown, and who chooses its quotes."""

import json
from dataclasses import dataclass
from pathlib import Path

from model.errors import ConfigError

FAR = 8_000
"""Characters, about 2,000 tokens, behind which a document is long: `mini` is sharper there in what it would refuse,
both where that is right and where it is wrong."""


@dataclass(frozen=True)
class Aids:
    """evidence: passages shown behind the document. choose_quotes: the reply opens with a quote chosen for the model.
    fit: how much a sentence's fit to the question's words counts beside the model's log-probability of it; with None
    the fit alone counts. refuse: the model may refuse if it gives that so many logits more than quoting; None: it may
    not, where its quote is chosen for it. refuse_far: the same behind a document of more than FAR characters; None: as
    elsewhere. sure: a quote that leads the next candidate by less, fit and log-probability
    together, was a close choice, and the next ones are offered beside it; None: never. excerpt: how many characters are
    shown of one place at most; where they are fewer than a passage has, excerpts of several places share its room.
    point: words that the model's pointer gives at least this log-probability are the answer, and none is written; with
    None, or without a pointer, never. weigh: with less, those answer whose log-probability and so many times their
    likeness to the answer that is then written are largest together; with None the written one stays. suit: how much
    the fit of their sentence to the question's words counts in that. odds: how many logits of the margin a nat counts
    by which no answer is likelier than the best words, to what points to them, where words may answer; refuse_pointed:
    how much both together must be there. Behind more than FAR characters neither counts, if those have their own.

    They stand under `onceread` in the folder's generation_config.json, measured for that model (`python -m tests.bench
    answers`). These defaults are for a model nobody measured: it is large, and writes its own quotes.
    """

    evidence: int = 4
    choose_quotes: bool = False
    fit: float | None = None
    refuse: float | None = None
    refuse_far: float | None = None
    sure: float | None = None
    excerpt: int = 700
    point: float | None = None
    weigh: float | None = None
    suit: float = 0.0
    odds: float = 0.0
    refuse_pointed: float | None = None

    def refuses_from(self, chars: int, odds: float | None) -> tuple[float, float] | None:
        """What counts behind a document of so many characters, if the model may refuse: a bound, and how much of it
        the odds of no answer make up. odds: None where words may not answer."""
        if self.refuse is None:
            return None
        if self.refuse_far is not None and chars > FAR:
            return self.refuse_far, 0.0
        if odds is None or self.refuse_pointed is None:
            return self.refuse, 0.0
        return self.refuse_pointed, self.odds * odds

    @staticmethod
    def of(folder: Path) -> "Aids":
        """The aids of a checkpoint folder. Raises ConfigError for a file that cannot be understood."""
        path = folder / "generation_config.json"
        try:
            said = json.loads(path.read_text("utf-8")).get("onceread", {})
            return Aids(**said)
        except FileNotFoundError:
            return Aids()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: what stands under `onceread` cannot be used ({error})") from error
