"""Each model in a process of its own: one that crashes, hangs or eats all memory costs one row.

The processes take turns, so that their rounds can be paired as if they were one. `apart` is what
others use. Nothing is imported here: `worker` serves where numpy is not yet known to be.
"""
