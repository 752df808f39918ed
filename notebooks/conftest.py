"""What nbval compares: text outputs. Plotted numbers are tested on the records."""


def pytest_collectstart(collector):
    """Skip what differs between machines without meaning anything."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml", "image/png")
