"""Does a stream need more memory the longer it runs? Resident memory of a process every so many frames.

    python benchmarks/video_memory.py --frames 10000 --every 500

The model is small and its weights random; detections and masks are scripted (tests/inference/scripted_stream.py), so
that objects are born, followed, lost, re-prompted and removed all the time while banks and history fill up. The aim:
after 10,000 frames within 5 % of what it was at frame 200.
"""

import argparse
import gc
import resource
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

SETTLED = 200  # frames


def resident() -> float:
    """MiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Prints a line every so many frames, and the growth."""
    from scripted_stream import random_model, scripted

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--history", type=int, default=1000, help="results kept, in frames")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    started, settled = time.perf_counter(), 0.0
    with scripted(random_model(), history_frames=given.history) as script:
        for frame in script.run(given.frames):
            if frame == SETTLED:
                settled = resident()
            if frame == SETTLED or (frame + 1) % given.every == 0:
                seconds = time.perf_counter() - started
                alive, born = len(script.session.object_ids), script.num_births
                print(f"{frame:6d}  {resident():7.1f} MiB  {alive} alive of {born}  {seconds:6.0f} s", flush=True)
        if settled:
            print(f"grew by {100 * (resident() / settled - 1):.1f} % since frame {SETTLED}")


if __name__ == "__main__":
    main()
