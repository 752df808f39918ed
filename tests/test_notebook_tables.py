"""Tables of a notebook: the same cells as HTML and as text."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd

from replication.plots.tables import Table


def test_a_table_has_the_same_cells_as_html_and_as_text():
    # Fails if a format is lost in one of both, or if a missing value is printed as "nan" or "None".
    table = pd.DataFrame(
        {"bound": [-98.26, np.nan], "samples": [1e6, 2.5e5], "at": ["N<3", None], "n": [3, 200]},
        index=pd.Index([3, 5], name="Nz"),
    )
    shown = Table(table, {"samples": ".1e"})
    rows = ElementTree.fromstring(shown._repr_html_()).findall("tbody/tr")
    assert [[cell.text or "" for cell in row] for row in rows] == [
        ["3", "-98.3", "1.0e+06", "N<3", "3"],
        ["5", "", "2.5e+05", "", "200"],
    ]
    assert [line.split() for line in repr(shown).splitlines()[2:]] == [
        ["3", "-98.3", "1.0e+06", "N<3", "3"],
        ["5", "2.5e+05", "200"],
    ]


def test_a_table_may_leave_its_index_out():
    shown = Table(pd.DataFrame({"a": [1.25]}, index=["hidden"]), index=False)
    assert "hidden" not in repr(shown) + shown._repr_html_() and "1.2" in repr(shown)


def test_a_table_without_rows_is_a_sentence():
    shown = Table(pd.DataFrame(columns=["a", "b"]))
    assert repr(shown) == shown._repr_html_() == "There is no row to show."
