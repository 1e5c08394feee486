import pytest
import torch

from cake_edge.errors import UsageMistake
from cake_edge.networks import build_network, parameter_count
from cake_edge.spec import ImageSpec
from cake_edge.students import STUDENTS, StudentConfig, build_student, inherit_weights
from cake_edge.teachers.adapters import FixedBatch, LogitsOf
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.subset import keep_classes

SPEC = ImageSpec(channels=1, height=28, width=28, mean=(0.5,), std=(0.5,), classes=10)


def resnet(channels, seed=0):
    arguments = {"channels": channels, "stem_width": 8}
    return build_network("resnet10t", channels=1, classes=10, arguments=arguments, seed=seed)


@pytest.mark.parametrize("name", sorted(STUDENTS))
def test_every_preset_builds_and_answers_small_images(name):
    network, architecture, arguments = build_student(StudentConfig(name=name), SPEC, seed=0)
    assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    again = build_network(architecture, channels=1, classes=10, arguments=arguments)
    assert parameter_count(again) == parameter_count(network)


def test_any_timm_name_is_a_student_and_arguments_go_over_the_preset_s():
    network, architecture, _ = build_student(StudentConfig(name="test_efficientnet"), SPEC, seed=0)
    assert architecture == "test_efficientnet"
    narrow = StudentConfig(name="small-resnet", arguments={"channels": [4, 4, 4, 4]})
    assert parameter_count(build_student(narrow, SPEC, seed=0)[0]) < parameter_count(network)


def test_an_unknown_name_is_refused_with_near_ones():
    with pytest.raises(UsageMistake, match=r"did you mean .*resnet"):
        build_student(StudentConfig(name="resnet10tt"), SPEC, seed=0)
    with pytest.raises(UsageMistake, match=r"no student 'tiny-resnte' \(did you mean tiny-resnet"):
        build_student(StudentConfig(name="tiny-resnte"), SPEC, seed=0)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("test_vit", {}, r"'test_vit' does not take .* shape \[1, 28, 28\] .*img_size=28"),
        ("tiny-resnet", {"features_only": True}, "answers two images with list, not with logits"),
        (
            "tiny-resnet",
            {"num_classes": 5},
            r"num_classes is given .* \(\d+\); leave it out",
        ),
        ("tiny-resnet", {"in_chans": 3}, r"in_chans is given .* from the teacher \(1\); leave it"),
    ],
)
def test_a_network_that_is_no_classifier_of_such_images_is_refused(name, arguments, message):
    with pytest.raises(UsageMistake, match=message):
        build_student(StudentConfig(name=name, arguments=arguments), SPEC, seed=0)


def test_a_new_student_is_in_training_mode():
    assert build_student(StudentConfig(), SPEC, seed=0)[0].training


def test_the_seed_decides_the_weights():
    def first(seed):
        return next(build_student(StudentConfig(), SPEC, seed=seed)[0].parameters())

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_a_student_as_wide_as_its_teacher_inherits_the_whole_of_it():
    teacher, student = resnet([8, 8, 16, 16], seed=1), resnet([8, 8, 16, 16], seed=2)
    assert inherit_weights(student, teacher) == len(teacher.state_dict())
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(student.eval()(images), teacher.eval()(images))


def test_a_narrow_student_takes_evenly_spaced_channels_that_belong_together():
    teacher, student = resnet([8, 8, 16, 16], seed=1), resnet([4, 8, 16, 16], seed=2)
    inherit_weights(student, teacher)
    large, small = teacher.state_dict(), student.state_dict()
    assert torch.equal(small["layer1.0.conv1.weight"], large["layer1.0.conv1.weight"][::2])
    assert torch.equal(small["layer1.0.bn1.weight"], large["layer1.0.bn1.weight"][::2])
    assert torch.equal(small["layer2.0.conv1.weight"], large["layer2.0.conv1.weight"][:, ::2])


def test_another_family_and_wider_tensors_are_left_alone():
    student = resnet([8, 8, 16, 16])
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    other = build_network("test_efficientnet", channels=1, classes=10)
    assert inherit_weights(student, other) == 0
    assert inherit_weights(student, resnet([4, 4, 4, 4], seed=3)) < len(before)
    name = "layer4.0.conv1.weight"
    assert torch.equal(student.state_dict()[name], before[name])


@pytest.fixture
def teacher():
    return FrozenTeacher(resnet([8, 8, 16, 16], seed=1).eval(), SPEC, architecture="resnet10t")


def student_of(spec, channels, seed=2):
    arguments = {"channels": channels, "stem_width": 8}
    config = StudentConfig(name="resnet10t", arguments=arguments)
    return build_student(config, spec, seed=seed)[0]


def test_a_student_of_some_classes_takes_their_rows(teacher):
    few = keep_classes(teacher, ["7", "2", "5"], other=False)
    student = student_of(few.spec, [8, 8, 16, 16])
    assert inherit_weights(student, few.network) == len(teacher.network.state_dict())
    images = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(student.eval()(images), few(images))


def test_the_row_of_other_stays_random_and_narrow_rows_are_spread_as_ever(teacher):
    few = keep_classes(teacher, ["7", "2"], other=True)
    student = student_of(few.spec, [8, 8, 16, 8])
    before = student.fc.weight[2].clone()
    inherit_weights(student, few.network)
    whole = teacher.network.fc
    assert torch.equal(student.fc.weight[:2], whole.weight[[7, 2]][:, ::2])
    assert torch.equal(student.fc.weight[2], before)
    assert torch.equal(student.fc.bias[:2], whole.bias[[7, 2]])


@pytest.mark.parametrize(
    ("architecture", "tensor"),
    [
        ("test_vit", "head.weight"),
        ("test_efficientnet", "classifier.weight"),
        ("test_convnext", "head.fc.weight"),
    ],
)
def test_the_classifier_is_found_whatever_it_is_called(architecture, tensor):
    spec = ImageSpec(channels=3, height=64, width=64, mean=(0.5,) * 3, std=(0.5,) * 3, classes=10)
    arguments = {"img_size": 64} if "vit" in architecture else {}
    config = StudentConfig(name=architecture, arguments=arguments)
    network = build_student(config, spec, seed=1)[0]
    few = keep_classes(
        FrozenTeacher(network, spec, architecture=architecture), ["9", "0", "4"], other=True
    )
    student = build_student(config, few.spec, seed=2)[0]
    inherit_weights(student, few.network)
    rows = network.state_dict()[tensor][[9, 0, 4]]
    assert torch.equal(student.state_dict()[tensor][:3], rows)


def test_other_adapters_do_not_stand_in_the_way(teacher):
    student = student_of(SPEC, [8, 8, 16, 16])
    inherited = inherit_weights(student, FixedBatch(LogitsOf(teacher.network), 4))
    assert inherited == len(teacher.network.state_dict())
    assert torch.equal(student.fc.weight, teacher.network.fc.weight)
