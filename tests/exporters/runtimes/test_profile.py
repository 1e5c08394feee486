"""What ran in one inference, from ONNX Runtime's profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exporters.runtimes.ort import open_inference_session, session_options
from exporters.runtimes.profile import profiled, ran_nodes


def test_every_node_is_named_with_its_operator_and_provider(pooled: Path) -> None:
    options = session_options(optimise=False)
    with profiled(options):
        session = open_inference_session(str(pooled), options, what="it")
        nodes = ran_nodes(session)
    assert [node.operator for node in nodes] == ["GlobalAveragePool", "Flatten"]
    assert {node.provider for node in nodes} == {"CPUExecutionProvider"}


def test_the_session_goes_on_and_no_file_is_left(pooled: Path) -> None:
    options = session_options()
    with profiled(options):
        folder = Path(options.profile_file_prefix).parent
        session = open_inference_session(str(pooled), options, what="it")
        ran_nodes(session)
        assert list(folder.iterdir())
    assert not folder.exists()
    images = np.ones((3, 2, 3, 3), np.float32)
    np.testing.assert_allclose(session.run(None, {"input": images})[0], np.ones((3, 2)))
