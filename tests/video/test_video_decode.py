"""Tests of video/decode.py and video/reader.py: against a plain loop that decodes everything."""

import math
import random
from fractions import Fraction
from itertools import accumulate, cycle, islice

import av
import numpy as np
import pytest

from mien.errors import MediaError
from mien.video.decode import WHOLE, Span, decode, decode_clip, ticks
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

LONG = range(0, 300 * 8, 8)
"""10 seconds: gaps that are worth a seek where there is no index."""

KINDS = {
    "b_frames.mp4": {},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=30"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=30"}},
    "one_keyframe.mp4": {"gop": 1000},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "late_start.mp4": {"container_options": {"output_ts_offset": "5"}},
    "edit_list.mp4": {"container_options": {"output_ts_offset": "-1.01"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=0:keyint=45:open-gop=1"}},
    "vfr.mp4": {"pts": [0, *accumulate(islice(cycle((8, 3, 40, 8, 9)), 149))]},
    "prores.mov": {"codec": "prores", "pixel_format": "yuv422p10le", "num_b_frames": 0},
    "b_frames.mkv": {"pts": LONG},
    "no_cues.mkv": {"pts": LONG, "container_options": {"live": "1"}},
    "intra_refresh.mkv": {"pts": LONG, "options": {"x264-params": "intra-refresh=1:keyint=60"}},
    "vp8.webm": {"pts": LONG, "codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "b_frames.ts": {"pts": LONG},
    "open_gop.ts": {"pts": LONG, "options": {"x264-params": "open-gop=1:keyint=60"}},
    "mpeg2.ts": {"pts": LONG, "codec": "mpeg2video", "num_b_frames": 2, "options": {"b": "2M"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p", "num_b_frames": 0, "pts": range(90), "duration": 1},
}


def until_error(frames):
    """What an iterator gives before its MediaError, and the message."""
    given = []
    with pytest.raises(MediaError) as caught:
        given.extend(frames)
    return given, str(caught.value)


def expected(reference, span, time_base):
    """Positions of the reference's frames whose time lies in the span, to the nearest time stamp."""
    start, end = (time_s if math.isinf(time_s) else round(Fraction(time_s) / time_base) for time_s in span)
    return [i for i, (pts, _) in enumerate(reference) if start <= pts < end]


def random_spans(rng, start_s, end_s):
    """One to three spans anywhere in the video, short or long, that may overlap."""
    starts = [rng.uniform(start_s, end_s) for _ in range(rng.randint(1, 3))]
    return [Span(start, start + rng.uniform(0.1, 1.0)) for start in starts]


@pytest.mark.parametrize("name", KINDS)
def test_spans_are_exactly_the_frames_of_a_full_decode(make_video, bare_decode, name):
    keywords = KINDS[name]
    path = make_video(name, **keywords)
    reference, time_base = bare_decode(path), probe(path).time_base
    whole = list(decode_clip(path))
    assert [frame.pts for frame in whole] == [pts for pts, _ in reference]
    assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(whole, reference, strict=True))
    rng = random.Random(name)
    for _ in range(6):
        spans = random_spans(rng, whole[0].time_s - 0.05, whole[-1].time_s - 0.1)
        given = {position: [] for position in range(len(spans))}
        for position, frame in decode(path, spans):
            given[position].append(frame)
        for position, span in enumerate(spans):
            wanted = [reference[i] for i in expected(reference, span, time_base)]
            assert [frame.pts for frame in given[position]] == [pts for pts, _ in wanted]
            assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(given[position], wanted, strict=True))


@pytest.mark.parametrize("name", ["d9.mp4", "s13.mp4", "s32.mp4"])
def test_spans_of_real_videos_are_those_of_a_full_decode(faces_dir, bare_decode, name):
    path = faces_dir / name
    reference, time_base = bare_decode(path)[:400], probe(path).time_base
    spans = [Span(2.4, 2.6), Span(0.9, 1.3)]
    given = list(decode(path, spans))
    assert [position for position, _ in given] == sorted((p for p, _ in given), reverse=True)
    wanted = expected(reference, spans[1], time_base) + expected(reference, spans[0], time_base)
    assert [frame.pts for _, frame in given] == [reference[i][0] for i in wanted]
    assert all((frame.rgb == reference[i][1]).all() for (_, frame), i in zip(given, wanted, strict=True))


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_with_b_frames_is_counted_from_its_first_frame(make_video, bare_decode, codec):
    """AVI stores no presentation times: PyAV's come out of order, the pictures do not."""
    path = make_video("b.avi", codec=codec, pts=range(90), duration=1)
    reference = bare_decode(path)
    frames = list(decode_clip(path))
    assert [frame.pts for frame in frames] == list(range(reference[0][0], reference[0][0] + len(reference)))
    assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(frames, reference, strict=True))
    span = Span(frames[50].time_s, frames[60].time_s)
    assert [frame.pts for frame in decode_clip(path, span)] == [frame.pts for frame in frames[50:60]]


def test_frames_are_upright_contiguous_rgb_of_their_own(make_video):
    first, second = islice(decode_clip(make_video(size=(50, 34))), 2)
    for frame in (first, second):
        assert (frame.rgb.shape, frame.rgb.dtype) == ((34, 50, 3), np.uint8)
        assert frame.rgb.flags.c_contiguous
    before = second.rgb.copy()
    first.rgb[:] = 0
    assert (second.rgb == before).all()
    shared = [frame.rgb for _, frame in decode(make_video(), [Span(0, 0.03), Span(0, 0.03)])]
    assert (shared[0] == shared[1]).all()
    assert not np.shares_memory(*shared)


def test_time_is_pts_times_time_base(make_video):
    path = make_video("a.ts")
    time_base = probe(path).time_base
    assert all(frame.time_s == float(frame.pts * time_base) for frame in decode_clip(path))


def test_a_span_between_the_times_of_two_frames_gives_the_frames_between(make_video):
    path = make_video()
    times = [frame.time_s for frame in decode_clip(path)]
    for first, last in ((0, 1), (10, 20), (29, 31), (31, 90)):
        end_s = times[last] if last < 90 else 3.0
        assert [frame.time_s for frame in decode_clip(path, Span(times[first], end_s))] == times[first:last]


def test_ticks_are_the_nearest_integers():
    assert ticks(0.1 * 3, Fraction(1, 15360)) == 4608
    assert ticks(1 / 3, Fraction(1, 1000)) == 333
    assert ticks(-0.5, Fraction(1, 10)) == -5
    assert ticks(-math.inf, Fraction(1)) < -(1 << 60) < 1 << 60 < ticks(math.inf, Fraction(1))


def nearest(stamps, origin, fps, end, time_base):
    """By hand: for each grid time the position of the nearest frame, the earlier of two, none twice."""
    chosen, step = [], 0
    while (time := round(origin / time_base + step / (fps * time_base))) < end:
        best = min(range(len(stamps)), key=lambda i: (abs(stamps[i] - time), i))
        chosen += [best] if best not in chosen else []
        step += 1
    return chosen


@pytest.mark.parametrize("fps", [0.5, 1, 5, 7, 12.5, 29.97, 30, 31, 60, 1000])
@pytest.mark.parametrize("name", ["a.mp4", "vfr.mp4", "vfr.mkv", "a.ts"])
def test_a_rate_gives_the_frames_nearest_to_its_grid(make_video, name, fps):
    gaps = (8, 3, 40, 8, 9) if "vfr" in name else (8,)
    path = make_video(name, pts=[0, *accumulate(islice(cycle(gaps), 89))])
    time_base = probe(path).time_base
    for span in (Span(0.51, 1.73), Span(0.5, 2.0), WHOLE):
        every = [frame.pts for frame in decode_clip(path, span)]
        start = Fraction(span.start_s) if math.isfinite(span.start_s) else every[0] * time_base
        end = min(ticks(span.end_s, time_base), every[-1] + 8 / 240 / time_base)
        wanted = [every[i] for i in nearest(every, start, Fraction(fps), end, time_base)]
        assert [frame.pts for frame in decode_clip(path, span, fps)] == wanted


def test_a_rate_gives_as_many_frames_as_fit(make_video):
    path = make_video()
    assert len(list(decode_clip(path, Span(0.5, 2.5), 5))) == 10
    assert [frame.time_s for frame in decode_clip(path, fps=10)] == [pytest.approx(k / 10) for k in range(30)]


def test_a_slow_rate_gives_no_frame_twice_where_no_index_tells_the_keyframes(make_video):
    path = make_video("a.ts", pts=[0, 8, 16, 2400, 2408, 2416, 4800], gop=1000)
    every = [frame.pts for frame in decode_clip(path)]
    given = [frame.pts for frame in decode_clip(path, fps=0.3)]
    wanted = nearest(every, every[0] * Fraction(1, 90000), Fraction(0.3), every[-1] + 3000, Fraction(1, 90000))
    assert given == [every[i] for i in wanted]


def test_spans_that_overlap_each_have_their_grid(make_video):
    path, spans = make_video(), [Span(0.5, 1.5), Span(0, 3), Span(0.5, 1.5)]
    for fps in (None, 4):
        alone = [[frame.pts for frame in decode_clip(path, span, fps)] for span in spans]
        together = [[], [], []]
        for position, frame in decode(path, spans, fps=fps):
            together[position].append(frame.pts)
        assert together == alone


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, -90, 180])
def test_frames_are_turned_and_mirrored_as_the_container_says(make_video, bare_decode, rotation_deg, is_mirrored):
    path = make_video(rotation_deg=rotation_deg, is_mirrored=is_mirrored, pts=range(0, 40, 8))
    _, stored = bare_decode(path)[0]
    upright = np.rot90(stored, rotation_deg // 90)
    wanted = upright[:, ::-1] if is_mirrored else upright
    frame = next(decode_clip(path))
    assert (frame.rgb == wanted).all()
    info = probe(path)
    assert frame.rgb.shape == (info.height_px, info.width_px, 3)


COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 150, 120)], np.float64)
BT601, BT709, BT2020 = (5, 0.299, 0.114), (1, 0.2126, 0.0722), (9, 0.2627, 0.0593)
LIMITED, FULL = 1, 2


def yuv(rgb, red, blue, colour_range):
    """8-bit YCbCr by the definition (ITU-R BT.601, BT.709, BT.2020)."""
    luma = (rgb * (red, 1 - red - blue, blue)).sum(-1) / 255
    b, r = (rgb[..., 2] / 255 - luma) / (2 - 2 * blue), (rgb[..., 0] / 255 - luma) / (2 - 2 * red)
    scale, offset, chroma = (219, 16, 224) if colour_range == LIMITED else (255, 0, 255)
    return np.stack([offset + scale * luma, 128 + chroma * b, 128 + chroma * r]).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("standard", [BT601, BT709, BT2020])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p"])
def test_colours_are_right_for_the_matrix_and_range_that_are_stated(tmp_path, pixel_format, standard, colour_range):
    code, red, blue = standard
    path = tmp_path / "colours.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "0" if pixel_format == "yuv444p" else "1"})
        stream.width, stream.height, stream.pix_fmt = 32 * len(COLOURS), 32, pixel_format
        context = stream.codec_context
        context.colorspace, context.color_range = code, colour_range
        planes = yuv(COLOURS.repeat(32, axis=0)[None].repeat(32, axis=0), red, blue, colour_range)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
        frame.colorspace, frame.color_range = code, colour_range
        if pixel_format == "yuv420p":
            sub = [planes[0].reshape(-1), planes[1, ::2, ::2].reshape(-1), planes[2, ::2, ::2].reshape(-1)]
            frame = av.VideoFrame.from_ndarray(np.concatenate(sub).reshape(-1, planes.shape[2]), format="yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    rgb = next(decode_clip(path)).rgb[16, 16::32].astype(int)
    assert np.abs(rgb - COLOURS).max() <= 4


def test_ten_bit_video_becomes_eight_bit(make_video):
    deep = next(decode_clip(make_video("deep.mp4", pixel_format="yuv420p10le", options={"crf": "1"})))
    flat = next(decode_clip(make_video("flat.mp4", options={"crf": "1"})))
    assert np.abs(deep.rgb.astype(int) - flat.rgb).mean() < 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("span", [Span(70, 73), Span(-9, -8), Span(0.501, 0.502), Span(70, math.inf)])
def test_a_span_without_frames_is_an_error_that_says_where_there_are_some(make_video, name, span):
    path = make_video(name)
    given, message = until_error(decode_clip(path, span))
    assert given == []
    assert message.startswith(
        f"{path}: has no frame from {span.start_s:.2f} to {span.end_s:.2f} s; choose a span within"
    )
    given, _ = until_error(decode(path, [span, Span(1, 2)]))
    assert {position for position, _ in given} == {1}


@pytest.mark.parametrize(
    "span", [Span(1, 1), Span(2, 1), Span(math.nan, 1), Span(0, math.nan), Span(math.inf, math.inf)]
)
def test_a_span_that_is_none_is_a_mistake_of_the_caller(span):
    with pytest.raises(ValueError, match="the end must come after the start"):
        decode("any.mp4", [span])


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_a_rate_that_is_none_is_a_mistake_of_the_caller(fps):
    with pytest.raises(ValueError, match="must be positive"):
        decode_clip("any.mp4", fps=fps)


def test_no_spans_give_no_frames(make_video):
    assert list(decode(make_video(), [])) == []


def test_a_file_object_gives_the_same_frames(make_video):
    path = make_video()
    with path.open("rb") as file:
        assert [f.pts for f in decode_clip(file, Span(1, 2))] == [f.pts for f in decode_clip(path, Span(1, 2))]


def test_more_threads_give_the_same_frames(make_video):
    path = make_video()
    many = list(decode_clip(path, Span(1, 2), limits=LimitsConfig(num_threads=2)))
    few = list(decode_clip(path, Span(1, 2)))
    assert [frame.pts for frame in many] == [frame.pts for frame in few]
    assert all((a.rgb == b.rgb).all() for a, b in zip(many, few, strict=True))
