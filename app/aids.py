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
    point: words that the reader gives at least this log-probability are the answer, and none is written; with
    None, or without a reader, never. none: where words may answer the reader refuses, and not the model, if no answer
    is likelier to it than the best words by so many nats; none_far: the same behind more than FAR characters; None: as
    elsewhere, and where neither is given the model refuses. none_open: the same for reasons, ways and deeds, which
    words answer less often (`evidence.is_open`); None: the model refuses those. Of a question whose words the document
    hardly has, `none` counts anywhere.

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
    none: float | None = None
    none_far: float | None = None
    none_open: float | None = None

    def refuse_behind(self, chars: int) -> float | None:
        """The bound for the model's margin behind a document of so many characters."""
        return self.refuse_far if self.refuse_far is not None and chars > FAR else self.refuse

    def none_behind(self, chars: int) -> float | None:
        """The bound for the reader's odds of no answer behind a document of so many characters."""
        return self.none_far if self.none_far is not None and chars > FAR else self.none

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
