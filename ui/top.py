"""The bar at the top: where one is, which model runs, who is signed in."""

from app.home import Home
from ui.address import Address
from ui.markup import button, local, safe


def bar(home: Home, address: Address, person: str) -> str:
    """The bar for an address; a person's name where people sign in, else empty."""
    here = {"": "Documents", "reports": "Reports", "settings": "Settings"}
    views = "".join(
        button("view", label, Address(address.document, address.conversation, view).query, style="or-nav",
               current=view == address.view)
        for view, label in here.items()
    )  # fmt: skip
    leave = f'<button class="or-button or-link">Sign out {safe(person)}</button>'
    out = f'<form method="post" action="/sign-out">{leave}</form>'
    return (
        '<header class="or-top">'
        f"{local('drawer', '☰', style='or-icon or-narrow', hint='Library')}"
        f'<h1>Onceread</h1><nav aria-label="Views">{views}</nav>'
        f'<span class="or-model" title="{safe(what_it_is(home))}">{safe(home.settings.model_name)} · '
        f"{safe(parameters(home))} · {safe(home.engine.device.type.upper())}</span>"
        f"{local('theme', '◐', style='or-icon', hint='Dark or light')}{out if person else ''}</header>"
    )


def parameters(home: Home) -> str:
    """`138 M`, `49.1 B`: the model's parameters."""
    millions = sum(parameter.numel() for parameter in home.engine.model.parameters()) / 1e6
    return f"{millions / 1000:.1f} B" if millions >= 999.5 else f"{millions:.0f} M"


def what_it_is(home: Home) -> str:
    """Which model runs, in a sentence."""
    name, device = home.settings.model_name, str(home.engine.device).upper()
    return f"The model in use is {name}, with {parameters(home)} parameters, on {device}."


def what_to_expect(home: Home) -> str:
    """What its answers are worth."""
    if home.settings.model_name == "mini":
        return (
            "It is small: it finds and quotes facts that stand in the text in your question's own words, answers many "
            "other questions wrongly, and invents. Trust the quotes, which are looked up, more than its words."
        )
    return "Every quote is looked up in the document; what is not found is shown as not found."
