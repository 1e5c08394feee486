"""This project's evidence: what its figures come from. Not installed."""
