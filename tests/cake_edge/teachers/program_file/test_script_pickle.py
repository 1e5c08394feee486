from __future__ import annotations

import pytest

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.script_pickle import EnumValue, ScriptObject, read_pickle


def test_objects_lists_and_enumerations_are_kept_as_names_and_values():
    data = (
        b"\x80\x02c__torch__.a\nB\n)\x81}(X\x01\x00\x00\x00nK\x03X\x01\x00\x00\x00e"
        b"c__torch__.c\nD\nX\x01\x00\x00\x00vRX\x01\x00\x00\x00l"
        b"ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02e\x85Rub."
    )
    found = read_pickle(data, "it")
    assert isinstance(found, ScriptObject)
    assert found.kind == "__torch__.a.B"
    assert found.attributes == {"n": 3, "e": EnumValue("__torch__.c.D", "v"), "l": [1, 2]}


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch marker'\ntR.",
        b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"\x80\x02c__torch__.torch.classes.quantized\nLinear\n)\x81.",
        b"\x80\x02c__torch__x\nB\n)\x81.",
        b"\x80\x02ctorch\nload\n)R.",
        b"\x80\x02ctorch\n_utils\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02c__torch__\nB\n)\x81K\x01b.",
        b"(S'a'\n.",
    ],
)
def test_what_only_code_could_make_is_refused(data):
    with pytest.raises(TeacherError):
        read_pickle(data, "it")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x02", b"\x80\x02h\x01.", b"\x80\x02t.", b"\x80\x02}K\x01u.", b"\x80\x02.", b"abc"],
)
def test_a_damaged_pickle_is_told(data):
    with pytest.raises(TeacherError, match="it is no pickle"):
        read_pickle(data, "it")


def test_a_list_that_is_copied_again_and_again_is_refused():
    one = b"](" + b"K\x01" * 100_000 + b"e\x85q\x00"
    copies = b"ctorch.jit._pickle\nbuild_intlist\nq\x01" + b"h\x01h\x00R" * 100
    with pytest.raises(TeacherError, match="more than 2,000,000 values"):
        read_pickle(b"\x80\x02" + one + copies + b".", "it")
