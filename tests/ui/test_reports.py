"""The reports' view: a job from the form to its files, and nobody else's."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import library, reading
from app.errors import OncereadError
from app.home import Home
from app.reports.background import written
from app.worker import Worker
from storage.errors import NotFound
from tests.ui.test_markup import Shown
from ui import reports
from ui.shared import Site


@pytest.fixture
def site(home: Home) -> Iterator[Site]:
    """What all tabs share, at work."""
    site = Site(home, Worker(home))
    site.start()
    yield site
    site.end()


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """Ann's document, in saved state."""
    path = tmp_path / "a.txt"
    path.write_text("The <b>bees</b> of Anvers.", "utf-8")
    id = library.add(home.of("ann"), [path]).id
    reading.read(home, id)
    return id


def test_a_report_from_the_form_to_its_files(site: Site, home: Home, document: str) -> None:
    ann, bob = home.of("ann"), home.of("bob")
    assert f'name="document:{document}"' in reports.panel(ann)
    assert document not in reports.panel(bob)
    with pytest.raises(OncereadError, match="document"):
        reports.start(ann, site.reports, "book-brief", [])
    with pytest.raises(OncereadError, match="templates"):
        reports.start(ann, site.reports, "/etc/passwd", [document])
    template = reports.shipped()[0]
    with pytest.raises(NotFound):
        reports.start(bob, site.reports, template, [document])
    id = reports.start(ann, site.reports, template, [document])
    end = time.monotonic() + 100
    while reports.any_busy(ann):
        assert time.monotonic() < end, ann.reports.get(id)
        time.sleep(0.1)
    shown = Shown(reports.listing(ann))
    assert "done" in shown.text
    assert "b" not in shown.tags
    assert written(ann.reports.get(id))
    assert f"/open/report/{id}" in reports.listing(ann)
    assert id not in reports.listing(bob)
    with pytest.raises(NotFound):
        reports.act(bob, site.reports, id, "report-remove")
    reports.act(ann, site.reports, id, "report-remove")
    assert id not in reports.listing(ann)
