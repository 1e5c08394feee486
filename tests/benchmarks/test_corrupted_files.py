import pytest

from benchmarks.corrupted_files import MAY_NOT, by_reader, row, total


def begun(case, reader="pth"):
    return {"reader": reader, "case": case, "name": f"damage {case}"}


def done(case, outcome, **more):
    return begun(case) | {"outcome": outcome, "seconds": 0.5 * case, **more}


def ended(code, reader="pth"):
    return {"reader": reader, "ended": code}


def of_whole(lines, count):
    found = row(lines, count)
    assert found["refused"] + found["read"] + sum(found[kind] for kind in MAY_NOT) == count
    return found


def test_files_are_counted_by_how_they_ended():
    outcomes = ["refused", "refused", "read", "forbidden"]
    lines = [line for at, end in enumerate(outcomes) for line in (begun(at), done(at, end))]
    lines += [begun(4), done(4, "forbidden", acted=True), ended(0)]
    found = of_whole(lines, 5)
    assert [found[kind] for kind in ("refused", "read", "failed otherwise", "acted")] == [
        2,
        1,
        1,
        1,
    ]
    assert found["faults"] == ["case 3, damage 3", "case 4, damage 4"]
    assert found["slowest_seconds"] == 2.0


@pytest.mark.parametrize(("code", "kind"), [(1, "hung"), (-11, "crashed")])
def test_what_ends_a_reader_is_counted_and_what_came_after_it_too(code, kind):
    found = of_whole([begun(0), done(0, "refused"), begun(1), ended(code)], 5)
    assert found["refused"] == 1
    assert found[kind] == 1
    assert found["not reached"] == 3


def test_a_reader_that_could_not_begin_is_no_success():
    found = of_whole([ended(1)], 5)
    assert found["refused"] == 0
    assert found["hung"] + found["not reached"] == 5


def test_lines_are_split_by_reader():
    lines = [begun(0), ended(0), begun(0, "onnx"), ended(0, "onnx")]
    assert [(name, len(said)) for name, said in by_reader(iter(lines))] == [("pth", 2), ("onnx", 2)]


def test_readers_are_added_up():
    rows = [row([begun(0), done(0, end), ended(0)], 1) for end in ("refused", "read")]
    found = {kind: number for kind, number in total(rows).items() if number}
    assert found == {"files": 2, "refused": 1, "read": 1}
