"""Labels as samples of FiftyOne."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from masklet.formats.coco import CocoFile
from masklet.formats.records import decode_mask
from masklet.formats.tools.objects import box_of, by_image, name_of_image, size_of


def to_fiftyone(labels: CocoFile, find_image: Callable[[str], Path], field: str = "ground_truth") -> Iterator[Any]:
    """A `fiftyone.Sample` for each image, with its objects as detections under `field`; needs `masklet[fiftyone]`.

    Raises: ImportError without the package, InputError when an image is not found.
    """
    try:
        import fiftyone  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError('FiftyOne samples need a package: pip install "masklet[fiftyone]"') from error
    for image, records in by_image(labels):
        height, width = size_of(image)
        detections = []
        for record in records:
            x, y, w, h = box_of(record, (height, width))
            fields: dict[str, Any] = {} if record.score is None else {"confidence": record.score}
            if record.segmentation:
                mask = decode_mask(record.segmentation, (height, width))
                fields["mask"] = mask[round(y) : round(y + h), round(x) : round(x + w)]
            label = labels.categories[record.category_id].name
            relative = [x / width, y / height, w / width, h / height]
            detections.append(fiftyone.Detection(label=label, bounding_box=relative, **fields))
        sample = fiftyone.Sample(filepath=str(find_image(name_of_image(image)).absolute()))
        sample[field] = fiftyone.Detections(detections=detections)
        yield sample
