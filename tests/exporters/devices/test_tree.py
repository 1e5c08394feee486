"""Reading files that may not be there."""

from exporters.devices.tree import Tree


def test_text_loses_the_nul_that_ends_a_device_tree_string(tmp_path):
    (tmp_path / "model").write_bytes(b"Board\0other\0\n")
    assert Tree(tmp_path).text("model") == "Board\0other"


def test_what_is_not_there_is_none_and_said_where_it_is_asked_for(tmp_path):
    tree = Tree(tmp_path)
    assert tree.text("absent") is None
    assert tree.unknown == ()
    assert tree.text("absent", what="the model") is None
    assert tree.unknown == ("the model: /absent: No such file or directory",)


def test_a_number_that_is_none_is_said(tmp_path):
    (tmp_path / "rate").write_text("fast\n")
    tree = Tree(tmp_path)
    assert tree.number("rate", what="the rate") is None
    assert tree.unknown == ("the rate: /rate holds 'fast', not a number",)
    (tmp_path / "rate").write_text("-12\n")
    assert tree.number("rate") == -12


def test_the_same_reason_is_said_once(tmp_path):
    tree = Tree(tmp_path)
    tree.give_up("clocks", "none")
    tree.give_up("clocks", "none")
    assert tree.unknown == ("clocks: none",)


def test_matches_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("hwmon10", "hwmon2", "hwmon1"):
        (tmp_path / name).mkdir()
    assert Tree(tmp_path).match("hwmon*") == ["hwmon1", "hwmon2", "hwmon10"]
    assert Tree(tmp_path).match("absent/*") == []
