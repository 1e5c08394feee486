"""`python -m cake_edge` is the command `cake-edge`."""

from __future__ import annotations

from cake_edge.cli import main

if __name__ == "__main__":
    main(prog_name="cake-edge")
