"""Images that lie in a device's memory already, for the time of the network alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from exporters.optional import import_package
from exporters.runtimes.providers import INSTALL

__all__ = ["OnDevice"]

Images = npt.NDArray[np.float32]


class OnDevice:
    """One batch on the device; what is timed is the network, started and waited for."""

    def __init__(
        self,
        session: Any,
        images: Images,
        *,
        input_name: str,
        output_name: str,
        memory: str,
        device_id: int,
    ) -> None:
        """Copies `images` [N, C, H, W] to the device, runs once, and keeps the place of the logits.

        Args:
            session: an `onnxruntime.InferenceSession`.
            memory: ONNX Runtime's name of the device's memory, such as "cuda".
            device_id: which of several.
        """
        ort: Any = import_package("onnxruntime", install=INSTALL)
        self._session = session
        self._where = f"memory of {memory}:{device_id}"
        self._binding = session.io_binding()
        # The binding copies once and keeps the address: this value must live as long as it does.
        self._images = ort.OrtValue.ortvalue_from_numpy(images, memory, device_id)
        self._binding.bind_ortvalue_input(input_name, self._images)
        self._binding.bind_output(output_name, memory, device_id)
        self._run()
        (self._output,) = self._binding.get_outputs()
        # From here on the logits are written to one place, and nothing is allocated in a call.
        self._binding.bind_ortvalue_output(output_name, self._output)
        self._run()
        self._logits: Images = self._output.numpy()

    def infer(self, images: Images) -> Images:
        """Runs the network on the images it was made with, whatever is given; returns their logits.

        The logits are those of the first call; these stay on the device.
        """
        self._run()
        return self._logits

    def _run(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def describe(self) -> dict[str, Any]:
        """Where the images are: to replace `images` in what its session says of itself."""
        return {"images": self._where}
