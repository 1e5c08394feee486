"""Which device this is, how it is set, and the rails that tell what it draws.

Reads files of /proc, /sys, /etc and /var, runs no command, and changes nothing.
"""

from __future__ import annotations

from exporters.devices.advice import advice, changes
from exporters.devices.describe import Device, describe_device
from exporters.devices.rails import Rail, Rails, find_rails

__all__ = ["Device", "Rail", "Rails", "advice", "changes", "describe_device", "find_rails"]
