from dataclasses import replace

import pytest
import torch

from cake_edge.assistant import AssistantConfig, load_assistant
from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.distill import DistillConfig
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.students import StudentConfig


@pytest.fixture
def teacher(make_teacher):
    return make_teacher("plain")


@pytest.fixture
def student_of(make_teacher, tmp_path):
    """Writes the checkpoint of a student of the teacher with this digest."""

    def write(digest):
        path = tmp_path / "assistant.safetensors"
        network = make_teacher("test_resnet", seed=3)
        about = Checkpoint(
            architecture="test_resnet", spec=network.spec, manifest={"teacher": digest}
        )
        save_checkpoint(path, network.network, about)
        return path, network

    return write


def test_a_student_of_the_teacher_is_a_teacher_itself(teacher, student_of):
    path, network = student_of(teacher.digest)
    found = load_assistant(path, teacher)
    images = torch.randn(2, *teacher.spec.input_size)
    assert torch.equal(found(images), network(images))
    assert found.spec == teacher.spec
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_a_student_of_another_teacher_is_refused(teacher, student_of):
    path, _ = student_of("0" * 64)
    with pytest.raises(UsageMistake, match="did not learn from this teacher"):
        load_assistant(path, teacher)


def test_a_file_that_is_no_checkpoint_is_refused(teacher, tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(ArtifactError, match="is not a checkpoint; give one that distill wrote"):
        load_assistant(tmp_path / "weights.safetensors", teacher)
    with pytest.raises(ArtifactError, match="does not exist"):
        load_assistant(tmp_path / "nowhere.safetensors", teacher)


def test_it_is_trained_as_the_student_is_but_for_its_steps():
    assistant = AssistantConfig(name="tiny-resnet", arguments={"stem_width": 8})
    config = DistillConfig(steps=30, batch=8)
    assert assistant.student == StudentConfig(name="tiny-resnet", arguments={"stem_width": 8})
    assert assistant.training(config) == config
    assert replace(assistant, steps=7).training(config) == replace(config, steps=7)
    with pytest.raises(UsageMistake, match="steps is 0"):
        AssistantConfig(name="tiny-resnet", steps=0)
