"""How a notebook begins: what it may be told, the parameters that papermill gives it, as a plan."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from IPython import get_ipython

from replication import paths
from replication.config import ConfigError
from replication.paper import experiments, plans
from replication.paper.plans import Plan


def make_plan(
    profile: str, seed: int, datasets: str | Sequence[str] | None, reading: str, overrides: Mapping[str, Any]
) -> Plan:
    """The plan that a notebook's parameters ask for; from then on the notebook shows its figures.

    Raises ConfigError as `plans.make_plan` does, and for a parameter of papermill that is none of them: papermill
    itself only warns of it, and the notebook would run with the default. Raises RecordError where a file has the name
    of a folder that is to be written into.
    """
    experiments.forget_what_was_said()  # notebooks of a batch share a kernel
    _show_figures()
    if unknown := [name for name in _injected_parameters() if name not in Plan._fields]:
        raise ConfigError(
            f"Unknown notebook parameter {', '.join(unknown)}. The parameters are {', '.join(Plan._fields)}. "
            f"A setting of the runs is an override. {plans.OVERRIDES_SYNTAX}"
        )
    plan = plans.make_plan(profile, seed, datasets, reading, overrides)
    paths.refuse_what_is_in_the_way(plan.profile)
    if no_effect := plans.without_effect(plan):
        print(no_effect)
    return plan


def _show_figures() -> None:
    """Draw into the notebook: with $MPLBACKEND set, as on servers without a screen, its kernel would draw nowhere."""
    shell = get_ipython()
    if hasattr(shell, "kernel"):
        shell.enable_matplotlib("inline")


def _injected_parameters() -> list[str]:
    """The names that papermill's cell assigns, which it inserts after the parameters cell; none without papermill."""
    shell = get_ipython()
    history = shell.history_manager.input_hist_raw if shell else []
    injected = [cell for cell in history if cell.startswith("# Parameters\n")][-1:]
    assignments = [node for cell in injected for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return [target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)]
