"""The list of faults is about today's code; `make test-mutations` tries them."""

import pytest
from mutations import FAULTS, stale


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_still_one(fault):
    # Fails where a text has changed: the fault would no longer be put in, and its test no longer be tested.
    assert not stale(fault)


def test_the_list_is_long_and_names_each_fault_once():
    assert len(FAULTS) == len({fault.name for fault in FAULTS}) >= 60
    assert sum(bool(fault.survives) for fault in FAULTS) <= 0.05 * len(FAULTS)
