"""`make report`: the executed notebooks as one page that can be read without a network."""

import base64
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import jinja2
import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter

from replication import paths
from replication.errors import ReplicationError
from replication.paper import experiments, names, summary

IMAGES = {"image/svg+xml": "svg", "image/png": "png"}
WIDGET = "application/vnd.jupyter.widget-view+json"
EXPLORER = paths.figures("paper") / "explorer.png"
MATH = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\\$`])\$(?P<inline>[^$`\n]+?)\$", re.DOTALL)
NO_CDN = dict.fromkeys(
    ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "mermaid_layout_elk_js_url"), ""
)


class Page(NamedTuple):
    """A notebook on the front page: where it is, its title, its claim, its first figure."""

    href: str
    title: str
    claim: str
    thumbnail: str | None


def build(profile: str) -> Path:
    """Write `out/<profile>/report/` and return its index.html.

    At paper scale the committed notebooks are shown unless the batch has executed them anew. Raises ReplicationError
    when no notebook of the profile has been executed.
    """
    notebooks = executed_notebooks(profile)
    folder = paths.out(profile) / "report"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = [_write_page(notebook, folder) for notebook in notebooks]
    template = jinja2.Environment(autoescape=True).from_string((Path(__file__).parent / "report.html.j2").read_text())
    (folder / "index.html").write_text(template.render(profile=profile, pages=pages, tables=_verdict_rows(profile)))
    return folder / "index.html"


def executed_notebooks(profile: str) -> list[Path]:
    """The profile's notebooks with outputs, in the order of their names."""
    found = sorted(paths.out(profile).glob("[0-9]_*.ipynb"))
    if not found and profile == "paper":
        found = sorted(paths.NOTEBOOKS.glob("[0-9]_*.ipynb"))
    if not found:
        raise ReplicationError(
            f"No notebook of profile {profile} has been executed: run `make reproduce PROFILE={profile}` first, "
            "or `make report PROFILE=paper` for the recorded ones."
        )
    return found


def _write_page(notebook: Path, folder: Path) -> Page:
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:
        cell.source = with_mathml(cell.source) if cell.cell_type == "markdown" else cell.source
        if cell.cell_type == "code":
            cell.outputs = [_without_kernel(output) for output in cell.outputs if output.get("name") != "stderr"]
    content.metadata.pop("widgets", None)  # their scripts would be asked for from a network
    exporter = HTMLExporter(template_name="lab", embed_images=True, **NO_CDN)
    html, _ = exporter.from_notebook_node(content)
    page = folder / f"{notebook.stem}.html"
    page.write_text(html.replace(".ipynb", ".html"))  # links between notebooks
    first = content.cells[0].source.splitlines()
    claim = " ".join(line.removeprefix(">").strip(' "') for line in first if line.startswith(">") and "—" not in line)
    return Page(page.name, first[0].removeprefix("# "), claim, _thumbnail(content, folder / notebook.stem))


def _without_kernel(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A widget, which needs a kernel, becomes its screenshot."""
    if WIDGET in output.get("data", {}) and EXPLORER.exists():
        output.data = nbformat.from_dict({"image/png": base64.b64encode(EXPLORER.read_bytes()).decode()})
    return output


def _thumbnail(content: nbformat.NotebookNode, stem: Path) -> str | None:
    """The first figure of a notebook as a file of its own."""
    outputs = [output.get("data", {}) for cell in content.cells for output in cell.get("outputs", [])]
    for data in outputs:
        for kind, suffix in IMAGES.items():
            if kind in data:
                file = stem.with_suffix(f".{suffix}")
                file.write_bytes(data[kind].encode() if suffix == "svg" else base64.b64decode(data[kind]))
                return file.name
    return None


def with_mathml(markdown: str) -> str:
    """LaTeX between dollars as MathML, which a browser draws without any script."""

    def convert_one(match: re.Match) -> str:
        if match["block"]:
            return convert(match["block"].strip(), display="block")
        return convert(match["inline"])

    return MATH.sub(convert_one, markdown)


def _verdict_rows(profile: str) -> dict[str, str]:
    """The last value of every curve and the paper's there, as HTML tables."""
    return {
        names.FIGURES[figure]: table.astype({"samples_evaluated": int}).to_html(
            index=False, float_format="{:.1f}".format, na_rep="", border=0
        )
        for figure, table in summary.final_values(experiments.settings(profile)).items()
    }
