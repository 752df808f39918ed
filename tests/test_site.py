"""The site: a reader without a network sees formulas, figures and outputs; every module has its page."""

import subprocess
import sys
import tomllib

import nbformat
import pytest

from replication import paths

NOTEBOOK = "1_estimators"
EXPLORER = "7_explorer"
VERDICT = "8_verdict"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The front page, the changelog and three notebooks, built as `make site` builds all."""
    folder = tmp_path_factory.mktemp("site")
    notebooks = (f"notebooks/{name}.ipynb" for name in (NOTEBOOK, EXPLORER, VERDICT))
    pages = f"include_patterns={','.join(['README.md', 'CHANGELOG.md', *notebooks])}"
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs", "-D", pages, "-d", folder / "doctrees", "."]
    run = subprocess.run([*command, folder / "html"], cwd=paths.ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return folder / "html"


def test_the_page_on_how_it_is_built_names_every_module():
    page = (paths.ROOT / "docs/built.md").read_text(encoding="utf-8")
    modules = {file.name for file in (paths.ROOT / "replication").rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert not {name for name in modules if name not in page}


@pytest.fixture
def page(chromium, site):
    """A page of Chromium that can reach nothing but files, and tells what it asked for."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        page = context.new_page()
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        yield page
        assert all(url.startswith(("file:", "data:")) for url in page.asked)
        browser.close()


def test_formulas_are_typeset_without_a_network(site, page):
    # Fails if MathJax comes from a network or not at all, or if dollars are not taken for formulas.
    page.goto((site / "notebooks" / f"{NOTEBOOK}.html").as_uri())
    page.wait_for_selector("mjx-container")
    boxes = [formula.bounding_box() for formula in page.locator("mjx-container").all()]
    assert len(boxes) > 3 and all(box["width"] > 2 and box["height"] > 2 for box in boxes)
    assert page.locator("mjx-merror").count() == 0
    text = page.inner_text("article")
    assert not any(raw in text for raw in ("$", r"\(", r"\[", "\\frac"))


def test_the_stored_outputs_of_a_notebook_are_shown(site, page):
    # Fails if notebooks are shown without their outputs.
    page.goto((site / "notebooks" / f"{NOTEBOOK}.html").as_uri())
    assert page.locator(".cell_output img").count() > 0


def test_setup_is_folded_and_what_is_to_be_read_is_not(site, page):
    # Fails if a page opens with imports: a reader would see code before sense.
    page.goto((site / "notebooks" / f"{NOTEBOOK}.html").as_uri())
    folded = page.locator(".cell.tag_hide-input .cell_input")
    assert folded.count() >= 1 and not folded.first.is_visible()
    shown = [cell.inner_text() for cell in page.locator(".cell_input").all() if cell.is_visible()]
    assert shown and not any(text.lstrip().startswith(("import ", "from ")) for text in shown)
    assert page.locator(".cell.tag_hide-input + .cell.tag_hide-input").count() == 0  # one fold, not two in a row
    assert 'profile = "paper"' in folded.first.text_content()


@pytest.mark.parametrize("width", [1000, 400])
def test_no_line_of_code_or_of_an_answer_is_cut(site, page, width):
    # Fails if a line ends beyond the right edge of its box, on a desk or on a phone.
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((site / "notebooks" / f"{NOTEBOOK}.html").as_uri())
    cut = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText)"
    for boxes in (".cell_input pre", ".cell.tag_prose .cell_output pre"):
        assert page.locator(boxes).count() > 0 and page.eval_on_selector_all(boxes, cut) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto((site / "README.html").as_uri())
    assert page.locator(".highlight pre").count() > 0 and page.eval_on_selector_all(".highlight pre", cut) == []


def test_a_wide_table_is_broken_within_its_cells(site, page):
    # Fails if a reader at a desk must scroll to see whether a claim holds.
    page.set_viewport_size({"width": 1000, "height": 900})
    page.goto((site / "notebooks" / f"{VERDICT}.html").as_uri())
    wide = "tables => tables.filter(table => table.offsetWidth > table.parentElement.clientWidth).length"
    assert page.locator("table.dataframe").count() > 3 and page.eval_on_selector_all("table.dataframe", wide) == 0


@pytest.mark.parametrize(
    ("name", "picture"), [("README", "article p > img"), (f"notebooks/{NOTEBOOK}", ".cell_output img")]
)
def test_a_figure_keeps_its_size_on_a_phone_and_scrolls(site, page, name, picture):
    # Fails if ten panels with a legend shrink to the width of a phone, where nobody can read them.
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto((site / f"{name}.html").as_uri())
    page.wait_for_load_state("load")
    figure = page.locator(picture).first
    scrolls = "image => [image.parentElement.clientWidth < 400, getComputedStyle(image.parentElement).overflowX]"
    assert figure.bounding_box()["width"] >= 700 and figure.evaluate(scrolls) == [True, "auto"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_sentence_of_an_answer_is_one_line_of_the_page(site, page):
    # Fails if the page keeps the line ends of a terminal: on a phone each is broken once more, a word or two later.
    page.goto((site / "notebooks" / f"{NOTEBOOK}.html").as_uri())
    lines = page.locator(".cell.tag_prose .cell_output pre").first.inner_text().strip().split("\n")
    assert len(lines) == 3 and all(line.endswith(".") for line in lines)


def test_the_search_finds_a_notebook_before_the_changelog(site, page):
    # Fails with Sphinx's own order, in which the changelog comes first.
    page.goto((site / "search.html").as_uri() + "?q=score+function")
    page.wait_for_selector("#search-results li a")
    page.wait_for_timeout(1000)
    links = [link.get_attribute("href") for link in page.locator("#search-results li a").all()]
    assert links[0].startswith(f"notebooks/{NOTEBOOK}") and links[-1].startswith("CHANGELOG")


@pytest.mark.parametrize("name", ["0_method", "4_manifolds"])
def test_figures_say_in_words_what_is_seen(name):
    # Fails if a figure has no alternative text: a reader who cannot see it hears a file name.
    cells = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    pictures = [
        cell for cell in cells if any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    ]
    texts = [cell.metadata["mystnb"]["image"]["alt"] for cell in pictures]
    assert texts and all(len(text.split()) > 5 for text in texts) and len({*texts}) == len(texts)


@pytest.mark.parametrize("name", ["README", f"notebooks/{NOTEBOOK}", f"notebooks/{EXPLORER}"])
def test_every_image_of_a_page_is_there(site, page, name):
    # Fails if a page names an image that was not copied to the site, as the explorer's film once was not.
    page.goto((site / f"{name}.html").as_uri())
    page.wait_for_load_state("load")
    widths = page.eval_on_selector_all("article img", "images => images.map(image => image.naturalWidth)")
    assert widths and all(width > 0 for width in widths)


def test_the_front_page_shows_every_figure(site, page):
    # Fails if README's path to a picture leads nowhere on the site.
    page.goto((site / "index.html").as_uri())
    page.wait_for_url("**/README.html")
    widths = page.evaluate("Array.from(document.querySelectorAll('article img')).map(image => image.naturalWidth)")
    assert len(widths) >= 2 and all(widths)


def test_every_module_is_on_the_page_of_modules():
    # Fails when a module is added at the top of the package and not in docs/modules.md.
    contracts = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    modules = {f"replication.{name}" for layer in layers for name in layer.split(" | ")} - {"replication.__main__"}
    assert modules == {line.strip() for line in (paths.ROOT / "docs/modules.md").read_text().splitlines()} & modules
