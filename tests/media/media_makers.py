"""Writes small media files of every format."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CORNERS = {"red": (220, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 220), "grey": (128, 128, 128)}


def sine(seconds: float, *, rate: int = 16_000, hertz: float = 440.0, level: float = 0.5) -> NDArray[np.float32]:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def wav(path: Path, channels: Sequence[NDArray[np.float32]], *, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.stack(channels, axis=1) * 32767).round().astype("<i2").tobytes())
    return path


def sound(
    path: Path,
    channels: Sequence[NDArray[np.float32]],
    *,
    codec: str,
    rate: int = 48_000,
    layout: str = "",
    container: str | None = None,
) -> Path:
    with av.open(str(path), "w", format=container) as output:
        layout = layout or {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
        encode_sound(output, output.add_stream(codec, rate=rate, layout=layout), channels)
    return path


def encode_sound(output: Any, stream: Any, channels: Sequence[NDArray[np.float32]]) -> None:
    rate, layout = stream.rate, stream.layout.name
    fits = stream.codec_context.format.name
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(np.stack(channels)), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    resampler = av.AudioResampler(format=fits, layout=layout, rate=rate, frame_size=stream.codec_context.frame_size)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        output.mux(stream.encode(piece))
    output.mux(stream.encode(None))


def video(
    path: Path,
    colours: Sequence[tuple[int, int, int]],
    *,
    fps: int = 10,
    each: float = 2.0,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    gop: int = 10,
    audio: Sequence[NDArray[np.float32]] = (),
    audio_codec: str = "aac",
    faststart: bool = False,
) -> Path:
    """Write a video that shows each colour for `each` seconds, with a key frame at least every `gop` frames."""
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as output:
        quiet = {"x264-params": "log-level=none:scenecut=0", "preset": "ultrafast"} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=fps, options=quiet)
        track = output.add_stream(audio_codec, rate=48_000, layout="mono") if audio else None
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = (
            *size,
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
            gop,
        )
        if codec == "mpeg4":
            stream.bit_rate = 400_000
        count = 0
        for colour in colours:
            picture = Image.new("RGB", size, colour)
            for _ in range(round(each * fps)):
                frame = av.VideoFrame.from_image(picture)
                frame.pts, frame.time_base = count, Fraction(1, fps)
                output.mux(stream.encode(frame))
                count += 1
        output.mux(stream.encode(None))
        if track:
            encode_sound(output, track, audio)
    return path


def quarters(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return an image: red top left, green top right, blue bottom left, grey bottom right."""
    width, height = size
    picture = Image.new("RGB", size)
    for (name, colour), place in zip(
        CORNERS.items(), ((0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)), strict=True
    ):
        assert name
        picture.paste(colour, (*place, place[0] + width // 2, place[1] + height // 2))
    return picture


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    target = io.BytesIO()
    if form in ("HEIF", "HEIC"):
        import pillow_heif

        pillow_heif.from_pillow(picture).save(target, **options)
    else:
        picture.save(target, form, **options)
    return target.getvalue()


def files_of_all_formats(folder: Path) -> list[Path]:
    """Write at least one small file of every format that bindsearch reads."""
    return [*_pictures(folder), *_sounds(folder), *_videos(folder), *_texts(folder)]


def _pictures(folder: Path) -> list[Path]:
    picture = quarters()
    frames = [Image.new("RGB", (32, 24), colour) for colour in CORNERS.values()]
    deep = Image.fromarray(np.linspace(0, 65_535, 32 * 24).reshape(24, 32).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    contents = {
        "a.jpg": encoded(picture, "JPEG", exif=exif),
        "progressive.jpg": encoded(picture, "JPEG", progressive=True),
        "cmyk.jpg": encoded(picture.convert("CMYK"), "JPEG"),
        "a.png": encoded(picture.convert("RGBA"), "PNG"),
        "deep.png": encoded(deep, "PNG"),
        "moving.png": encoded(frames[0], "PNG", duration=1500, **moving),
        "a.gif": encoded(picture, "GIF"),
        "moving.gif": encoded(frames[0], "GIF", duration=1500, **moving),
        "a.webp": encoded(picture, "WEBP"),
        "moving.webp": encoded(frames[0], "WEBP", duration=1500, **moving),
        "a.tiff": encoded(picture, "TIFF"),
        "lzw.tiff": encoded(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(picture, "TIFF", compression="jpeg"),
        "pages.tif": encoded(frames[0], "TIFF", compression="tiff_adobe_deflate", **moving),
        "a.bmp": encoded(picture, "BMP"),
        "a.heic": encoded(picture, "HEIF"),
        "a.avif": encoded(picture, "AVIF"),
        "moving.avif": encoded(frames[0], "AVIF", duration=1500, **moving),
        "a.tga": encoded(picture, "TGA"),
        "a.ppm": encoded(picture, "PPM"),
        "a.ico": encoded(picture, "ICO"),
        "a.jp2": encoded(picture, "JPEG2000"),
        "a.qoi": encoded(picture, "QOI"),
        "a.pcx": encoded(picture, "PCX"),
        "a.dds": encoded(picture, "DDS"),
        "a.icns": encoded(picture, "ICNS"),
    }
    return [_written(folder / name, data) for name, data in contents.items()]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _sounds(folder: Path) -> list[Path]:
    tone = sine(0.6, rate=48_000)
    codecs = {
        "a.flac": "flac",
        "a.mp3": "libmp3lame",
        "a.ogg": "libopus",
        "flac.oga": "flac",
        "a.opus": "libopus",
        "a.m4a": "aac",
        "alac.m4a": "alac",
        "a.aac": "aac",
        "a.aiff": "pcm_s16be",
        "a.au": "pcm_s16be",
        "a.caf": "pcm_s16le",
        "a.w64": "pcm_s16le",
        "adpcm.wav": "adpcm_ms",
        "a.ac3": "ac3",
        "a.tta": "tta",
        "a.wv": "wavpack",
        "a.mka": "libopus",
    }
    contents = [sound(folder / name, [tone, tone], codec=codec) for name, codec in codecs.items()]
    return [wav(folder / "a.wav", [tone, tone], rate=48_000), *contents]


def _videos(folder: Path) -> list[Path]:
    colours = list(CORNERS.values())[:2]
    audio = [sine(0.8, rate=48_000)]
    return [
        video(folder / "a.mp4", colours, each=0.5, gop=3, audio=audio, faststart=True),
        video(folder / "late.mp4", colours, each=1.5, gop=100),
        video(folder / "a.webm", colours, each=0.5, codec="libvpx", audio=audio, audio_codec="libopus"),
        video(folder / "a.mkv", colours, each=0.5, audio=audio, audio_codec="flac"),
        video(folder / "a.avi", colours, each=0.5, codec="mpeg4"),
        video(folder / "a.mov", colours, each=0.5, codec="mjpeg"),
        video(folder / "a.m2ts", colours, each=0.5, fps=25),
        video(folder / "a.mpg", colours, each=0.5, fps=25, codec="mpeg2video"),
        video(folder / "a.flv", colours, each=0.5, codec="flv"),
        video(folder / "a.wmv", colours, each=0.5, codec="wmv2"),
    ]


def _texts(folder: Path) -> list[Path]:
    sentences = "The sea was calm. Gulls cried over the harbour, für immer.\n\n" * 20
    cue = "{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\n<i>Line</i> {n}\n\n"
    cues = "".join(cue.format(n=n) for n in range(1, 30))
    page = "<html><head><title>Sea</title><style>p {}</style></head><body><p>Waves &amp; gulls<p>again</body></html>"
    contents = {
        "a.txt": sentences.encode(),
        "wide.txt": sentences.encode("utf-16"),
        "old.txt": sentences.encode("cp1252"),
        "a.md": ("# Sea\n\n" + sentences).encode(),
        "a.srt": cues.encode(),
        "a.vtt": ("WEBVTT\n\n" + cues.replace(",", ".")).encode(),
        "a.html": (page * 3).encode(),
    }
    return [_written(folder / name, data) for name, data in contents.items()]
