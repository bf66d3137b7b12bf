"""What a run ran on, as its checkpoints tell it: kinds of devices, and never the name of a machine."""

import platform
from collections import Counter
from pathlib import Path

import torch

from mien.training.world import World

_CPUS = Path("/proc/cpuinfo")


def hardware(world: World) -> dict[str, int]:
    """Kind of device -> workers that have one; every worker calls it."""
    return dict(Counter(world.objects(device_name(world.device))))


def device_name(device: torch.device) -> str:
    """Name of a GPU, or of the processor where there is none."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor(_CPUS) or platform.processor() or platform.machine()


def processor(file: Path) -> str:
    """The first processor that Linux names; empty where it names none."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
