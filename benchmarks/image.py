"""How fast and lean is the full-size image model beside transformers'? Same random weights, same inputs, in turn.

    python benchmarks/image.py --dtype bfloat16 --out benchmarks/image_bfloat16.json
    python benchmarks/image.py --small --dtype float32 --repeats 1

Both models are built at full size and share their weights; before timing, their answers are compared. Each question is
then put to both in turn, several times, and medians are printed:

  first       one picture and one phrase, everything computed
  another     another phrase on the same picture, its features kept (transformers: `vision_embeds`)
  eight       eight phrases on that picture (transformers has no such call, so it is asked eight times)
  masks       50 kept masks brought to 1920 x 1080

Peak memory is that of a process which answers `first` and `masks` once, minus that of the imports.
transformers gets one padded exemplar, without which it leaves out a token that the published model always has.

A slow CPU needs most of a minute for one `first` at full size, so half an hour for everything. With `--small` images
have 336 pixels and the trunk has two blocks, as in `video.py`, all else its published width and depth: two minutes.
"""

import argparse
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))

PHRASES = ("yellow school bus", "a small striped red mug", "cat", "person in a blue shirt", "traffic light", "tree")
FULL_HD = (1080, 1920)
KEPT = 50


def choose_config(*, small: bool) -> Any:
    """The sizes of both models."""
    from video import small_config

    from masklet.config import sam3

    return small_config() if small else sam3()


def build_transformers(config: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """The peer with random weights, its epsilon that of the published model."""
    import torchvision_shim  # noqa: F401 - must come before transformers
    from transformers import Sam3Config, Sam3Model
    from twins import concept_config

    from masklet.config import sam3

    torch.manual_seed(0)
    theirs = Sam3Config() if config == sam3() else concept_config(config)
    theirs.vision_config.backbone_config.layer_norm_eps = 1e-5
    model = Sam3Model(theirs).eval().requires_grad_(requires_grad=False)
    return model.to(device=device, dtype=dtype)


def build_ours(config: Any, dtype: torch.dtype, device: torch.device, peer: Any) -> Any:
    """Our model with the peer's weights."""
    from masklet.checkpoints.foreign import parse_foreign
    from masklet.inference.model import make_model

    return make_model(parse_foreign(dict(peer.state_dict()), config), device, dtype)


class Peer:
    """transformers, asked the way its documentation shows."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.device = next(model.parameters()).device
        self.dtype = next(model.parameters()).dtype
        self.vision: Any = None

    def _words(self, phrase: str) -> dict[str, torch.Tensor]:
        token_ids, valid = self.tokenizer.encode([phrase])
        ids = torch.full((1, 32), int(token_ids.max()))  # the end of a text is the last word of the vocabulary
        mask = torch.zeros(1, 32, dtype=torch.long)
        ids[0, : token_ids.shape[1]], mask[0, : token_ids.shape[1]] = token_ids[0], valid[0].long()
        padding = torch.full((1, 1), -10)
        boxes = torch.zeros(1, 1, 4, dtype=self.dtype)
        inputs = {"input_ids": ids, "attention_mask": mask, "input_boxes": boxes, "input_boxes_labels": padding}
        return {name: value.to(self.device) for name, value in inputs.items()}

    def first(self, image: torch.Tensor, phrase: str) -> Any:
        self.vision = self.model.get_vision_features(pixel_values=image.to(self.dtype))
        return self.another(phrase)

    def another(self, phrase: str) -> Any:
        return self.model(vision_embeds=self.vision, **self._words(phrase))

    def eight(self, phrases: list[str]) -> Any:
        return [self.another(phrase) for phrase in phrases]

    def masks(self, low: torch.Tensor) -> torch.Tensor:
        """What its post-processing does: probabilities of all queries, then those kept, enlarged at once, as int64."""
        kept = low.sigmoid()[:KEPT]
        full = torch.nn.functional.interpolate(kept[None], FULL_HD, mode="bilinear", align_corners=False)[0]
        return (full > 0.5).long()


class Ours:
    """masklet through the same code that a session runs."""

    def __init__(self, model: Any) -> None:
        self.model, self.features = model, None

    def first(self, image: torch.Tensor, phrase: str) -> Any:
        self.model.forget_phrases()
        with torch.inference_mode():
            self.features = self.model.detector.encode_images(image)
        return self.another(phrase)

    def another(self, phrase: str) -> Any:
        return self.eight([phrase])

    def eight(self, phrases: list[str]) -> Any:
        from masklet.inference.concepts import Concept

        self.model.forget_phrases()
        # a threshold of 0 keeps all queries, as transformers computes the masks of all of them
        return self.model.detect(self.features, [Concept(phrase=phrase) for phrase in phrases], FULL_HD, -1.0)

    def masks(self, low: torch.Tensor) -> torch.Tensor:
        from masklet.ops.enlarge import resize_mask_logits

        return resize_mask_logits(low[:KEPT], *FULL_HD)


def compare(peer: Peer, ours: Ours, image: torch.Tensor) -> dict[str, float]:
    """Largest difference of one answer, query by query, and the size of what is compared."""
    theirs = peer.first(image, PHRASES[0])
    ours.first(image, PHRASES[0])
    from masklet.inference.concepts import Concept

    model, features = ours.model, ours.features
    grounding = model.detector.ground(features, *model.prompts([Concept(phrase=PHRASES[0])], FULL_HD))
    answer = model.detector.segment(features, grounding, torch.zeros(1, dtype=torch.long, device=image.device))
    pairs = {
        "logits": (theirs.pred_logits, answer.pred_logits[-1]),
        "masks": (theirs.pred_masks, answer.pred_masks),
    }
    result = {}
    for name, (a, b) in pairs.items():
        result[name] = float((a.float() - b.float()).abs().max())
        result[f"{name}_scale"] = float(a.float().abs().max())
    return result


def alternate(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call, taken in turn after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def blobs(count: int, device: torch.device) -> torch.Tensor:
    """Mask logits of round objects from a twentieth to a third of the picture, as detections on a photo have."""
    generator = torch.Generator().manual_seed(2)
    x, y, radius = torch.rand(3, count, 1, 1, generator=generator)
    grid = (torch.arange(288) + 0.5) / 288
    distance = ((grid[None, None, :] - x) ** 2 + (grid[None, :, None] - y) ** 2).sqrt()
    return (20 * (0.025 + 0.14 * radius - distance)).to(device)


def time_both(peer: Peer, ours: Ours, image: torch.Tensor, repeats: int) -> dict[str, dict[str, float]]:
    """Every question, both answers."""
    low = blobs(200, image.device)
    eight = [*PHRASES, "green apple", "left shoe"]
    sides: dict[str, Peer | Ours] = {"transformers": peer, "masklet": ours}
    questions: dict[str, Callable[[Any], object]] = {
        "first": lambda side: side.first(image, PHRASES[0]),
        "another": lambda side: side.another(PHRASES[1]),
        "eight": lambda side: side.eight(eight),
        "masks": lambda side: side.masks(low),
    }
    return {
        name: alternate({key: partial(ask, side) for key, side in sides.items()}, repeats)
        for name, ask in questions.items()
    }


def peak_memory(side: str, dtype_name: str, *, small: bool) -> float:
    """Peak of a fresh process of one side, in MiB above its imports."""
    command = [sys.executable, __file__, "--peak", side, "--dtype", dtype_name, *(["--small"] if small else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def draw_image(config: Any) -> torch.Tensor:
    """Noise in [-1, 1], of the size of the model's images."""
    size = config.image_size
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def make_tokenizer(config: Any) -> Any:
    """That of both models."""
    from masklet.tokenizer import Tokenizer

    return Tokenizer(config.text.vocab_size, config.text.context)


def report_peak(side: str, config: Any, dtype: torch.dtype) -> None:
    """Answers once and prints what it took; weights come from a file, as they would."""
    image, device = draw_image(config), torch.device("cpu")
    if side == "transformers":
        import torchvision_shim  # noqa: F401 - as above
        import transformers  # noqa: F401 - its import is not what is measured

    before = _resident()
    with torch.inference_mode():
        if side == "transformers":
            torch.set_default_dtype(dtype)  # built in its type, as from_pretrained does
            model: Peer | Ours = Peer(build_transformers(config, dtype, device), make_tokenizer(config))
            torch.set_default_dtype(torch.float32)
            built = _resident()
            model.first(image, PHRASES[0])
        else:
            model = Ours(build_empty(config, dtype))
            built = _resident()
            model.first(image, PHRASES[0])
        model.masks(blobs(200, device))
    print(f"built {built - before:.0f} peak {_peak() - before:.0f}")


def build_empty(config: Any, dtype: torch.dtype) -> Any:
    """Our model with small random weights, allocated once in its type, as when a file is loaded."""
    from masklet.inference.model import Model
    from masklet.models.detector import Detector
    from masklet.nn.precision import cast_compute

    with torch.device("meta"):
        detector = Detector(config)
        cast_compute(detector, dtype)
    detector = detector.to_empty(device="cpu").eval().requires_grad_(requires_grad=False)
    for tensor in detector.state_dict().values():
        tensor.normal_(std=0.02)
    return Model(
        detector=detector,
        device=torch.device("cpu"),
        dtype=dtype,
        image_size=config.image_size,
        parts=frozenset({"click", "memory"}),
        tokenizer=make_tokenizer(config),
    )


def _resident() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _peak() -> float:
    """Largest resident size of this process; `ru_maxrss` would begin with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="small images and a short trunk")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", choices=("transformers", "masklet"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    dtype, device = getattr(torch, given.dtype), torch.device(given.device)
    config = choose_config(small=given.small)
    if given.peak:
        report_peak(given.peak, config, dtype)
        return
    image = draw_image(config).to(device)
    with torch.inference_mode():
        model = build_transformers(config, torch.float32, device)
        ours = Ours(build_ours(config, dtype, device, model))
        peer = Peer(model.to(dtype), make_tokenizer(config))
        difference = compare(peer, ours, image)
        table = time_both(peer, ours, image, given.repeats)
    del model, peer, ours
    gc.collect()
    rows = {name: {**sides, "ratio": sides["masklet"] / sides["transformers"]} for name, sides in table.items()}
    if device.type == "cpu":
        peaks = {side: peak_memory(side, given.dtype, small=given.small) for side in ("transformers", "masklet")}
        rows["peak MiB"] = {**peaks, "ratio": peaks["masklet"] / peaks["transformers"]}
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    print(f"{machine}, {given.dtype}, {device}, {config.image_size} pixels")
    print("difference of the answers:", {name: f"{value:.1e}" for name, value in difference.items()})
    for name, row in rows.items():
        print(f"{name:10s} transformers {row['transformers']:9.3f}  masklet {row['masklet']:9.3f}  x{row['ratio']:.2f}")
    if given.out:
        content = {"date": str(date.today()), "torch": torch.__version__, "difference": difference, "rows": rows}
        given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
