"""Tables of a notebook: HTML where a page can show it, and the same cells as text beside it."""

from collections.abc import Mapping

import pandas as pd


class Table:
    """What a cell ends with to show a table, as HTML and as text.

    `formats` gives columns format specifications; other numbers with a fraction have one digit. What is missing is an
    empty cell, and a table without rows the sentence `if_empty`.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        formats: Mapping[str, str] | None = None,
        *,
        index: bool = True,
        if_empty: str = "There is no row to show.",
    ):
        self.cells = table.apply(lambda column: _as_text(column, (formats or {}).get(column.name, "")))
        self.index, self.if_empty = index, if_empty

    def __repr__(self) -> str:
        return self.if_empty if self.cells.empty else self.cells.to_string(index=self.index)

    def _repr_html_(self) -> str:
        return self.if_empty if self.cells.empty else self.cells.to_html(index=self.index, border=0)


def _as_text(column: pd.Series, specification: str) -> pd.Series:
    if not specification and pd.api.types.is_float_dtype(column):
        specification = ",.1f"
    return column.map(lambda value: "" if pd.isna(value) else format(value, specification))
