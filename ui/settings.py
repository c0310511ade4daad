"""The settings: how answers are made, how the page looks, and what model runs where."""

from app.about import about
from app.home import Home
from app.preferences import MOST_EVIDENCE, MOST_TOKENS, Preferences
from app.words import size
from ui import top
from ui.markup import facts, local, safe

KEYS = (
    ("/", "go to the question"), ("Enter", "ask"), ("Shift Enter", "a new line"), ("Esc", "stop the answer"),
    ("n, p", "the next or previous quote, opened beside the answer"),
)  # fmt: skip


def panel(home: Home, person: str) -> str:
    """The whole view."""
    return (
        '<div class="or-settings">'
        f"{_answers(Preferences.of(home, person))}{_model(home)}{_storage(home)}{_looks()}{_keys()}</div>"
    )


def _answers(chosen: Preferences) -> str:
    fields = (
        ("temperature", "Temperature", chosen.temperature, 'min="0" max="2" step="0.05"',
         "0 always takes the likeliest word; more lets it vary."),
        ("top_p", "Top-p", chosen.top_p, 'min="0.01" max="1" step="0.01"',
         "Only the likeliest words that together have this probability."),
        ("seed", "Seed", chosen.seed, 'min="0" step="1"', "The same seed gives the same answer again."),
        ("max_tokens", "Longest answer", chosen.max_tokens, f'min="1" max="{MOST_TOKENS}" step="1"', "In tokens."),
    )  # fmt: skip
    inputs = "".join(
        f'<label>{safe(label)}<input type="number" name="{name}" value="{safe(value)}" {limits} required>'
        f"<small>{safe(hint)}</small></label>"
        for name, label, value, limits, hint in fields
    )
    passages = {n: f"{n} passages" for n in range(2, MOST_EVIDENCE + 1)}
    amounts = {-1: "as suits the model", 0: "none", 1: "one passage"} | passages
    choices = "".join(
        f'<option value="{n}"{" selected" if n == chosen.evidence else ""}>{words}</option>'
        for n, words in amounts.items()
    )
    inputs += (
        f'<label>Evidence<select name="evidence">{choices}</select>'
        "<small>Passages of the text shown to the model beside its memory.</small></label>"
    )
    return (
        '<section><h2>Answers</h2><form data-do="prefer" class="or-form">'
        f'{inputs}<p class="or-actions"><button class="or-button or-primary">Save</button></p></form></section>'
    )


def _model(home: Home) -> str:
    what = about(home)
    pairs = [
        ("model", str(what["model"])),
        ("parameters", f"{what['parameters']:,}, of which {what['active_parameters']:,} work on a token"),
        ("layers", f"{what['kda_layers']} KDA and {what['mla_layers']} MLA"),
        ("longest document", f"{what['max_tokens']:,} tokens"),
        ("device", f"{what['device']}, {what['dtype']}"),
        ("kernels", str(what["kernels"])),
        ("weights in memory", f"{size(what['weights_bytes'])}, experts in {what['weights']}"),
        ("state", f"{size(what['state_bytes_fixed'])} and {what['state_bytes_per_token']:,} B a token"),
        ("fingerprint", str(what["fingerprint"])[:16]),
    ]
    expect = f'<p class="or-quiet">{safe(top.what_to_expect(home))}</p>'
    return f'<section class="or-about"><h2>Model</h2>{facts(pairs)}{expect}</section>'


def _storage(home: Home) -> str:
    budget = home.settings.max_state
    pairs = [
        ("documents", str(len(home.documents.list()))),
        ("saved state", size(home.snapshots.bytes())),
        ("state may take", size(budget) if budget else "any space (set it with --max-state)"),
    ]
    return (
        f"<section><h2>Storage</h2>{facts(pairs)}"
        '<p class="or-quiet">Everything is kept on the computer that runs Onceread, in its data folder. Nothing is '
        "sent anywhere, and the browser keeps nothing but the theme and an unsent question.</p></section>"
    )


def _looks() -> str:
    return (
        '<section><h2>Looks</h2><p class="or-actions">'
        f"{local('theme', 'Dark or light')}{local('theme-system', 'As the system')}</p></section>"
    )


def _keys() -> str:
    rows = "".join(f"<tr><th><kbd>{safe(key)}</kbd></th><td>{safe(words)}</td></tr>" for key, words in KEYS)
    return f"<section><h2>Keys</h2><table><tbody>{rows}</tbody></table></section>"
