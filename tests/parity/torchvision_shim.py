"""Makes `import transformers.models.sam3` possible beside a PyTorch without CUDA. Import this before transformers.

transformers' SAM 3 needs torchvision, which this project does not. The wheel on PyPI is linked with CUDA: on a machine
without it the compiled part does not load, and importing the Python part fails because it describes two operators that
are then unknown. They are declared here, and `roi_align` becomes the Python reference of the same package. That lacks
one rule of the compiled kernel, that samples more than a cell outside the map count as zero: test boxes stay inside.
Where torchvision works, nothing is changed.
"""

import importlib
import sys

import torch

try:
    import torchvision
except RuntimeError as error:  # "operator torchvision::nms does not exist"
    if "torchvision::nms" not in str(error):
        raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    DECLARED = torch.library.Library("torchvision", "DEF")  # undone when it is collected, so it is kept
    DECLARED.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    DECLARED.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision = importlib.import_module("torchvision")
    reference = importlib.import_module("torchvision.ops.roi_align")
    to_rois = importlib.import_module("torchvision.ops._utils").convert_boxes_to_roi_format

    def roi_align(input, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=False):  # noqa: FBT002
        """The package's own Python reference, not compiled."""
        rois = boxes if isinstance(boxes, torch.Tensor) else to_rois(boxes)
        height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
        plain = reference._roi_align.__wrapped__
        return plain(input, rois, spatial_scale, height, width, sampling_ratio, aligned)

    torchvision.ops.roi_align = roi_align
