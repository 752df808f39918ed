"""The site: README, verdict, notebooks as they are stored, every module. `make site` builds it without a network.

Its pages lie where the repository has them, so that a link leads to the same place in both.
"""

import json
import re
import subprocess
import sys

import pandas as pd
from docutils import nodes
from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from pydantic import BaseModel
from sphinx.util.docutils import SphinxDirective

import replication
from replication import benchmark, paths
from replication.config import RunConfig
from replication.paper import names, report
from replication.paper.plans import make_plan

project = "Auto-Encoding Variational Bayes, replicated"
author = "the maintainers of the AEVB replication"
release = replication.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # MathJax's files come with the site instead of from a network
]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api/*", "notebooks/[0-9]_*.ipynb"]
exclude_patterns = [".*", "data", "out", "docs/navigation.md"]
templates_path = [str(paths.ROOT / "docs" / "_templates")]  # autosummary looks beside the pages, html in docs/

nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_code_prompt_show = "Show the setup"
nb_code_prompt_hide = "Hide the setup"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 300  # of the full names, which are not shown
highlight_language = "text"  # of a block that names none: commands and files
default_role = "code"  # the first sentence of a docstring stands in a table, where `x` is Markdown too

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
html_search_scorer = str(paths.ROOT / "docs" / "search.js")
html_context = {"default_mode": "auto"}
html_theme_options = {"navbar_persistent": [], "use_download_button": False}  # the sidebar has the search already

MODULE_LINK = re.compile(r"\[`?([^]`]+)`?\]\(replication/([\w/]+)\.py\)")
IMAGE = re.compile(r'<img src="(?P<src>[^"]+)" alt="(?P<alt>[^"]*)">')
COLUMNS = re.compile(r"\S {2,}\S")  # of a printed table, whose lines must not be broken
WIDGET = "application/vnd.jupyter.widget-view+json"


def verdict_tables() -> str:
    """What `make verdict` computes, from the records."""
    return report.as_markdown(report.make(make_plan("paper")))


def commands() -> str:
    """The commands of make and of the package, from what they say of themselves."""
    targets = re.findall(r"^([\w-]+):[^#\n]*## (.+)$", (paths.ROOT / "Makefile").read_text(), re.MULTILINE)
    rows = [(f"`make {name}`", purpose) for name, purpose in targets]
    table = names.markdown(pd.DataFrame(rows, columns=["command", "what it does"]))
    typer = [sys.executable, "-m", "typer", "replication.__main__", "utils", "docs", "--name", "python -m replication"]
    options = subprocess.run(typer, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    each = options[options.index("\n## ") :]  # without the overview, which cuts sentences
    return f"{table}\n{each}"


def settings_of_a_run() -> str:
    """The fields of RunConfig, as its own page has them."""
    return f"\n## Settings of a run\n\n{settings_table(RunConfig)}\n"


def settings_table(settings: type[BaseModel]) -> str:
    """A Markdown table of a configuration's fields."""
    rows = [
        (
            f"`{field}`",
            "" if info.is_required() else f"`{info.default!r}`",
            (info.description or "").replace("|", r"\|"),
        )
        for field, info in settings.model_fields.items()
    ]
    return names.markdown(pd.DataFrame(rows, columns=["setting", "default", "what it is"]))


def navigation() -> str:
    """The order of the pages."""
    return (paths.ROOT / "docs" / "navigation.md").read_text()


APPENDED = {
    "README": navigation,
    "docs/verdict": verdict_tables,
    "docs/commands": commands,
    "docs/parameters": settings_of_a_run,
    "docs/benchmark": benchmark.as_markdown,
}


def complete_source(app, docname: str, content: list[str]) -> None:
    """Before a page is read: append what is computed for it, and link to the pages of modules, not to their files."""
    if docname in APPENDED:
        content[0] += APPENDED[docname]()
    if docname.startswith("notebooks/"):
        content[0] = for_readers(content[0])
    else:
        content[0] = MODULE_LINK.sub(
            lambda match: f"{{py:mod}}`{match[1]} <replication.{match[2].replace('/', '.')}>`", content[0]
        )


def for_readers(notebook: str) -> str:
    """The notebook with its setup in one fold and its sentences one per line, without widgets, which need a kernel.

    The explorer's film stands below them. Its cell is HTML, whose image Sphinx would not copy to the site: as Markdown
    it does.
    """
    content = json.loads(notebook)
    _join_setup(content["cells"])
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if image := IMAGE.fullmatch(source):
            cell["source"] = f"![{image['alt']}]({image['src']})"
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if WIDGET not in output.get("data", {})]
            if _is_setup(cell):
                cell["metadata"]["tags"].append("hide-input")
            if not any(COLUMNS.search("".join(output.get("text", ""))) for output in cell["outputs"]):
                cell["metadata"]["tags"].append("prose")
                for output in cell["outputs"]:
                    if "text" in output:
                        output["text"] = names.one_per_line("".join(output["text"]))
    return json.dumps(content)


def _join_setup(cells: list[dict]) -> None:
    """Put the parameters, a cell of their own for papermill, and the setup below them into one cell."""
    (first,) = (i for i, cell in enumerate(cells) if "parameters" in cell["metadata"]["tags"])
    parameters = cells.pop(first)
    cells[first]["source"] = [*parameters["source"], "\n\n", *cells[first]["source"]]
    cells[first]["metadata"]["tags"] = [*cells[first]["metadata"]["tags"], *parameters["metadata"]["tags"]]


def _is_setup(cell: dict) -> bool:
    """Parameters, and what begins with imports; not algorithm 1, which is to be read."""
    tags = cell["metadata"]["tags"]
    begins_with_imports = "".join(cell["source"]).startswith(("import ", "from "))
    return "parameters" in tags or (begins_with_imports and "algorithm-1" not in tags)


class Markdown(SphinxDirective):
    """A part in Markdown, which autodoc would take for reStructuredText."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The parsed content."""
        document = new_document(self.state.document["source"], self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        return document.children


def docstring_as_markdown(app, what: str, name: str, obj: object, options, lines: list[str]) -> None:
    """Docstrings are Markdown; a configuration's fields have descriptions instead."""
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        lines += ["", *settings_table(obj).splitlines()]
    sentence = lines.index("") if "" in lines else len(lines)
    lines[sentence:] = ["", ".. markdown::", "", *(f"   {line}" for line in lines[sentence:]), ""]


def skip_what_python_wrote(app, what: str, name: str, obj: object, skip: bool, options) -> bool | None:
    """Leave out docstrings that are nobody's here: of a tuple's fields, and of pydantic's settings."""
    return True if name == "model_config" or str(obj.__doc__).startswith("Alias for field number") else None


def setup(app) -> None:
    """Called by Sphinx."""
    app.add_directive("markdown", Markdown)
    app.connect("source-read", complete_source)
    app.connect("autodoc-process-docstring", docstring_as_markdown)
    app.connect("autodoc-skip-member", skip_what_python_wrote)
