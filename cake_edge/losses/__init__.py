"""Losses: each a plain function that states its reduction and its source."""
