"""Vectors of frames whose truth is planted: people, clips and frames are each as far apart as told."""

import numpy as np

from mien.analysis.dataset_vectors import Vectors


def vectors(
    num_people: int = 3, clips_of_person: int = 2, num_frames: int = 5, *, person: float = 1.0, seed: int = 0
) -> Vectors:
    """Clips of each person in turn: the same mark for all clips of a person, `person` long, a mark of each clip and
    noise, both of length about 1; 6 dimensions."""
    rng = np.random.default_rng(seed)
    num_clips = num_people * clips_of_person
    who = np.arange(num_clips) % num_people
    clip = np.repeat(np.arange(num_clips), num_frames)
    marks = person * rng.normal(size=(num_people, 6))[who][clip]
    values = marks + 0.5 * rng.normal(size=(num_clips, 6))[clip] + 0.4 * rng.normal(size=(len(clip), 6))
    frame = np.tile(np.arange(num_frames), num_clips)
    names = tuple(f"clip {number}" for number in range(num_clips))
    return Vectors(values, clip, frame, names, tuple(f"person {number}" for number in who), "planted")
