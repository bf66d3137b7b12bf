"""Bytes that strangers send on purpose, made from one good mp4: flips, broken films, bombs, disguised playlists."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

SIDE_PX = 128
NUM_FRAMES = 24


def write_sound_video(path: Path) -> bytes:
    """A good mp4 with pictures and sound, header first; returns its bytes."""
    rng = np.random.default_rng(7)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video: Any = container.add_stream("libx264", rate=Fraction(12), options={"g": "6", "threads": "1"})
        video.width = video.height = SIDE_PX
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("aac", rate=16_000, layout="mono")
        for i in range(NUM_FRAMES):
            rgb = np.kron(rng.integers(60, 200, (16, 16, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
            rgb[:, 4 * i : 4 * i + 8] = 255
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        sound = av.AudioFrame.from_ndarray(rng.uniform(-0.1, 0.1, (1, 32_000)).astype(np.float32), "fltp", "mono")
        sound.sample_rate = 16_000
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path.read_bytes()


def flipped(data: bytes, seed: int) -> bytes:
    """1 to 32 bits turned; every second seed turns them in the header alone, where they hurt most."""
    rng = np.random.default_rng(seed)
    stop = len(data) if seed % 2 else min(len(data), max(64, data.find(b"mdat")))
    damaged = bytearray(data)
    for at in rng.integers(0, stop, int(rng.integers(1, 33))):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def box(data: bytes, kind: bytes, number: int = 0) -> int:
    """Position of the body of the n-th box of a kind; its size stands 8 bytes before."""
    at = -1
    for _ in range(number + 1):
        at = data.index(kind, at + 1)
    return at + 4


def patched(data: bytes, at: int, form: str, *values: float) -> bytes:
    """The bytes with some numbers put in."""
    damaged = bytearray(data)
    struct.pack_into(form, damaged, at, *values)
    return bytes(damaged)


def sized(data: bytes, kind: bytes, size: int) -> bytes:
    """A box that claims another size."""
    return patched(data, box(data, kind) - 8, ">I", size)


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """The first box or codec of a kind under another name."""
    return data.replace(old, new, 1)


def _negative_times(data: bytes) -> bytes:
    """Every frame is shown long before the film begins (ISO 14496-12, section 8.6.1.3)."""
    at = box(data, b"ctts")
    (count,) = struct.unpack_from(">I", data, at + 4)
    data = patched(data, at, ">I", 0x01000000)
    for entry in range(count):
        data = patched(data, at + 12 + 8 * entry, ">i", -1_000_000 - entry)
    return data


def _no_duration(data: bytes) -> bytes:
    data = patched(data, box(data, b"mvhd") + 16, ">I", 0)
    data = patched(data, box(data, b"mdhd") + 16, ">I", 0)
    at = box(data, b"stts")
    (count,) = struct.unpack_from(">I", data, at + 4)
    for entry in range(count):
        data = patched(data, at + 12 + 8 * entry, ">I", 0)
    return data


def _all_chunks_at(data: bytes, offset: int) -> bytes:
    at = box(data, b"stco")
    (count,) = struct.unpack_from(">I", data, at + 4)
    return patched(data, at + 8, f">{count}I", *[offset] * count)


def _garbled(data: bytes, kind: bytes, num_bytes: int) -> bytes:
    at = box(data, kind)
    return data[:at] + np.random.default_rng(3).bytes(num_bytes) + data[at + num_bytes :]


def _nested(depth: int) -> bytes:
    """Boxes in boxes, each a little smaller."""
    data = b""
    for _ in range(depth):
        data = struct.pack(">I4s", len(data) + 8, b"moov") + data
    return struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\2\0" + data


def external_track(data: bytes, path: Path) -> bytes:
    """A track whose frames lie in another file: an alias in its data reference (QuickTime File Format, `dref`)."""
    name = str(path).encode()
    alias = bytes(10) + b"\x04disk".ljust(28, b"\0") + bytes(12) + b"\x06canary".ljust(64, b"\0") + bytes(16)
    alias = alias.ljust(150, b"\0") + struct.pack(">hh", 2, len(name)) + name + b"\0" * (len(name) % 2)
    alias += struct.pack(">hh", 18, len(name)) + name + b"\0" * (len(name) % 2) + struct.pack(">hh", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    return _with_reference(data, entry)


def url_track(data: bytes, url: str) -> bytes:
    """A track whose frames are said to lie at a URL (ISO 14496-12, section 8.7.2)."""
    text = url.encode() + b"\0"
    return _with_reference(data, struct.pack(">I4sI", 12 + len(text), b"url ", 0) + text)


def _with_reference(data: bytes, entry: bytes) -> bytes:
    """The data reference of the first track replaced; every box around it and every chunk moved by as much."""
    at = box(data, b"dref") - 8
    (old,) = struct.unpack_from(">I", data, at)
    new = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    grown, by = data[:at] + new + data[at + old :], len(new) - old
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = box(grown, kind) - 8
        grown = patched(grown, start, ">I", struct.unpack_from(">I", grown, start)[0] + by)
    return grown


def endless_samples(data: bytes, count: int) -> bytes:
    """A sample table of 20 bytes that claims any number of frames of one byte each (ISO 14496-12, 8.7.3 and 8.7.4)."""
    data = patched(data, box(data, b"stsz") + 4, ">II", 1, count)
    data = patched(data, box(data, b"stts") + 4, ">III", 1, count, 1)
    return patched(data, box(data, b"stsc") + 4, ">IIII", 1, 1, count, 1)


def endless_fragment(path: Path, count: int) -> None:
    """A fragment whose frames take no room in its table (`trun` without flags; ISO 14496-12, section 8.8.8)."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as container:
        stream: Any = container.add_stream("mjpeg", rate=12, width=SIDE_PX, height=SIDE_PX, pix_fmt="yuvj420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)).reformat(format="yuvj420p")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(patched(data, box(data, b"trun"), ">II", 0, count))


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "half.mp4": lambda d: d[: len(d) // 2],
    "zeros.mp4": lambda _: bytes(10_000),
    "noise.mp4": lambda _: np.random.default_rng(0).bytes(10_000),
    "text.mp4": lambda _: b"This is not a video.\n" * 50,
    "empty.mp4": lambda _: b"",
    "header_only.mp4": lambda d: d[: box(d, b"mdat") - 8],
    "moov_cut.mp4": lambda d: d[: box(d, b"stsz")],
    "moov_last_byte_cut.mp4": lambda d: d[: box(d, b"mdat") - 9],
    "moov_too_large.mp4": lambda d: sized(d, b"moov", 0x7FFFFFFF),
    "trak_of_no_size.mp4": lambda d: sized(d, b"trak", 0),
    "stbl_too_small.mp4": lambda d: sized(d, b"stbl", 4),
    "stsd_too_large.mp4": lambda d: sized(d, b"stsd", 0xFFFFFFF0),
    "negative_times.mp4": _negative_times,
    "no_duration.mp4": _no_duration,
    "no_time_scale.mp4": lambda d: patched(d, box(d, b"mdhd") + 12, ">I", 0),
    "one_id_for_all_tracks.mp4": lambda d: patched(d, box(d, b"tkhd", 1) + 12, ">I", 1),
    "no_samples.mp4": lambda d: patched(d, box(d, b"stsz") + 4, ">II", 0, 0),
    "huge_sample.mp4": lambda d: patched(d, box(d, b"stsz") + 12, ">I", 0x7FFFFFFF),
    "many_samples.mp4": lambda d: endless_samples(d, 5000),
    "chunks_beyond_end.mp4": lambda d: _all_chunks_at(d, 0xFFFFFFF0),
    "chunks_in_header.mp4": lambda d: _all_chunks_at(d, 0),
    "garbled_codec_header.mp4": lambda d: _garbled(d, b"avcC", 24),
    "garbled_table.mp4": lambda d: _garbled(d, b"stsc", 16),
    "unknown_codec.mp4": lambda d: renamed(d, b"avc1", b"xxxx"),
    "forbidden_codec.mov": lambda d: renamed(d, b"avc1", b"M8RG"),
    "wrong_codec.mp4": lambda d: renamed(d, b"avc1", b"vp09"),
    "no_video_header.mp4": lambda d: renamed(d, b"vmhd", b"free"),
    "boxes_in_boxes.mp4": lambda _: _nested(2000),
}
"""Name -> what makes it of the good bytes; with `write_odd` the home-made files of the tests."""


def write_odd(folder: Path) -> list[Path]:
    """Files that are sound but not what is asked for: one frame, sound alone, a cover alone."""
    one, sound, cover = (folder / name for name in ("one_frame.mp4", "sound_alone.mp4", "cover_alone.m4a"))
    grey = np.full((SIDE_PX, SIDE_PX, 3), 99, np.uint8)
    _write(one, [grey])
    _write(sound, [])
    _write(cover, [grey], Disposition.attached_pic)
    return [one, sound, cover]


def _write(path: Path, pictures: list[np.ndarray], disposition: Disposition | None = None) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video: Any = None
        audio: Any = container.add_stream("aac", rate=16_000, layout="mono")
        if pictures:
            video = container.add_stream("mjpeg", rate=1, width=SIDE_PX, height=SIDE_PX, pix_fmt="yuvj420p")
            video.disposition = disposition or Disposition.default
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate = 16_000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture).reformat(format="yuvj420p")
            frame.pts = number
            container.mux(video.encode(frame))
            container.mux(video.encode(None))


def write_bombs(folder: Path, good: bytes) -> dict[str, str]:
    """Small files that claim or hold far too much; each with the limit that must stop it."""
    write_large_frames(folder / "large.mp4", 8192)
    _write_many_frames(folder / "many.mov", 20_000)
    (folder / "long.mp4").write_bytes(_stretched(good, 1_000_000))
    _write_long_matroska(folder / "long.mkv", 1_000_000)
    (folder / "endless.mp4").write_bytes(endless_samples(good, 178_000_000))
    return {
        "large.mp4": "max_pixels=",
        "many.mov": "max_fps=",
        "long.mp4": "max_duration_s=",
        "long.mkv": "max_duration_s=",
        "endless.mp4": "claims 178000000 samples in",
    }


def _stretched(good: bytes, duration_s: int) -> bytes:
    """Frames that each last for hours, and an edit that shows all of it (stts, elst; ISO 14496-12, section 8.6)."""
    good = patched(good, box(good, b"mdhd") + 12, ">II", 1, duration_s)
    good = patched(good, box(good, b"elst") + 8, ">I", duration_s * 1000)
    return patched(good, box(good, b"stts") + 12, ">I", duration_s // NUM_FRAMES)


def _write_long_matroska(path: Path, duration_s: float) -> None:
    """A header that claims a length (Duration, in ms as a double; RFC 9559, section 5.1.2.10)."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=12, width=SIDE_PX, height=SIDE_PX, pix_fmt="yuvj420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)).reformat(format="yuvj420p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    data = path.read_bytes()
    path.write_bytes(patched(data, data.index(b"\x44\x89\x88") + 3, ">d", duration_s * 1000))


def write_large_frames(path: Path, side_px: int) -> None:
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "threads": "1"}
        stream: Any = container.add_stream("libx264", rate=12, width=side_px, height=side_px, options=options)
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(side_px, side_px, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(2):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_many_frames(path: Path, count: int) -> None:
    """One JPEG of 16x16 px so many times within a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=count, width=16, height=16, pix_fmt="yuvj420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8)).reformat(format="yuvj420p")
        frame.pts = 0
        (packet,) = [*stream.encode(frame), *stream.encode(None)]
        for number in range(count):
            again: Any = av.Packet(bytes(packet))
            again.stream, again.pts, again.dts, again.duration = stream, number, number, 1
            again.time_base, again.is_keyframe = Fraction(1, count), True
            container.mux(again)


def playlists(good: bytes, port: int, canary: Path) -> dict[str, bytes]:
    """Texts and films that ask the reader to call a port or to open a neighbour, named as if they were videos."""
    url, near, path = f"http://127.0.0.1:{port}/a.ts", canary.name, str(canary)
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n{}#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/key"\n'
    mpd = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT9S">'
    mpd += '<Period><AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="9"><BaseURL>{}</BaseURL>'
    mpd += "</Representation></AdaptationSet></Period></MPD>"
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP/TCP 96\n"
    texts = {
        "hls.mp4": hls.format("", url),
        "hls_near.ts": hls.format("", near),
        "hls_path.mkv": hls.format("", f"file://{path}"),
        "hls_key.mov": hls.format(key, near),
        "hls_variant.mp4": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{url}.m3u8\n",
        "dash.mp4": mpd.format(url),
        "dash_near.webm": mpd.format(near),
        "concat.mkv": f"ffconcat version 1.0\nfile {near}\n",
        "concat_url.mp4": f"ffconcat version 1.0\nfile '{url}'\n",
        "sdp.mp4": sdp + "a=rtpmap:96 H264/90000\n",
        "address.avi": f"{url}\n",
        "rtsp.mp4": f"RTSPtext\nrtsp://127.0.0.1:{port}/a\n",
        "asx.mp4": f'<ASX version="3.0"><Entry><Ref href="{url}"/></Entry></ASX>',
        "imf.mp4": f'<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">{url}</CompositionPlaylist>',
    }
    films = {
        "alias.mov": external_track(good, canary),
        "url.mp4": url_track(good, f"file://{path}"),
        "url_away.mp4": url_track(good, url),
    }
    return {name: text.encode() for name, text in texts.items()} | films
