"""Published libraries under the laws, and the page that says what was found: `python -m tools.scorecard`."""
