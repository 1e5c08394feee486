"""Memory and disk."""

from exporters.devices.memory import memory, storage
from exporters.devices.tree import Tree


def test_memory_in_bytes(board):
    assert memory(Tree(board("orin-nano"))) == {
        "total": 7620000 * 1024,
        "available": 5000000 * 1024,
        "swap_total": 3810000 * 1024,
        "swap_free": 3810000 * 1024,
    }


def test_memory_that_is_not_told(board):
    tree = Tree(board("virtual"))
    assert memory(tree) is None
    assert tree.unknown[0].startswith("memory: /proc/meminfo")
    tree = Tree(board("pc", {"proc/meminfo": "MemTotal: 1 kB\n"}))
    assert memory(tree) is None
    assert "usual form" in tree.unknown[0]


def test_the_disk_below_the_root(board):
    found = storage(Tree(board("orin-nano")))
    assert found["device"] == "/dev/mmcblk0p1"
    assert 0 <= found["free_bytes"] <= found["total_bytes"]


def test_a_disk_that_is_not_there(tmp_path):
    tree = Tree(tmp_path / "absent")
    assert storage(tree) is None
    assert tree.unknown[0].startswith("storage: ")
