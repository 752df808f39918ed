"""The report: every notebook a page, formulas and figures without a network, a front page with the verdict's rows."""

import re

import pytest

from replication import paths, report
from replication.errors import ReplicationError


@pytest.fixture
def built(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "out", lambda profile: tmp_path / profile)
    return report.build("paper")


def test_the_front_page_links_every_notebook_and_shows_the_tables(built):
    page = built.read_text()
    for notebook in paths.NOTEBOOKS.glob("[0-9]_*.ipynb"):
        assert f'href="{notebook.stem}.html"' in page and (built.parent / f"{notebook.stem}.html").exists()
    for thumbnail in re.findall(r'<img src="([^"]+)"', page):
        assert (built.parent / thumbnail).stat().st_size > 1000
    assert page.count("<img") >= 4
    assert "Figure 2: the lower bound" in page and "wake_sleep" in page


def test_pages_ask_nothing_of_a_network(built):
    # Fails if nbconvert's scripts for formulas or widgets come back.
    for page in built.parent.glob("*.html"):
        assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!arxiv\.org)[^"]*\.(?:js|css)', page.read_text())


def test_formulas_become_mathml_and_prices_do_not():
    text = report.with_mathml("the bound $L_1$ and\n$$\\frac{1}{2}$$ but `$HOME` and $5")
    assert text.count("<math") == 2 and 'display="block"' in text and "`$HOME` and $5" in text


def test_a_profile_without_notebooks_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "out", lambda profile: tmp_path)
    with pytest.raises(ReplicationError, match="make reproduce PROFILE=quick"):
        report.build("quick")
