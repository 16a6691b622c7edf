"""The sound of a video put to the overlay of it, after the overlay is written: so it can never cost the picture."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.stream import VideoStream

from masklet.media.av_files import open_to_read


def with_sound(overlay: Path, source: Path, span: tuple[float, float], target: Path) -> str | None:
    """Writes to `target` the overlay with the source's sound of `span` (begin and end in seconds of the source).

    The packets are copied as they are. Where they cannot be, the reason is returned and `target` is of no use; without
    any sound in the source it is "".
    """
    try:
        with open_to_read(source) as sounds:
            sound = sounds.streams.best("audio")
            if not isinstance(sound, AudioStream):
                return ""
            if sound.codec_context is None:
                return "its codec is not known"
            with (
                open_to_read(overlay) as pictures,
                av.open(str(target.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as made,
            ):
                if sound.codec_context.name not in made.supported_codecs:
                    return f"MP4 cannot hold {sound.codec_context.name}"
                _copy(pictures, sounds, sound, span, made)
    except (FFmpegError, OSError, ValueError) as error:  # of whatever kind: the overlay goes without
        return f"it is damaged, or MP4 cannot hold it ({getattr(error, 'strerror', None) or error})"
    return None


def _copy(
    pictures: InputContainer,
    sounds: InputContainer,
    sound: AudioStream,
    span: tuple[float, float],
    made: OutputContainer,
) -> None:
    """Packets of both, in order of their times. Raises: ValueError when the times of the sound do not rise."""
    picture = pictures.streams.video[0]
    assert isinstance(picture, VideoStream)
    copies: dict[Stream, Stream] = {
        picture: made.add_stream_from_template(picture),
        sound: made.add_stream_from_template(sound),
    }
    images, tones = _packets(pictures, picture), _in_span(_packets(sounds, sound), span)
    image, tone = next(images, None), next(tones, None)
    while image is not None or tone is not None:
        if tone is None or (image is not None and _time(image) <= _time(tone)):
            assert image is not None
            packet, source, image = image, picture, next(images, None)
        else:
            packet, source, tone = tone, sound, next(tones, None)
        packet.stream = copies[source]
        made.mux(packet)


def _packets(container: InputContainer, stream: Stream) -> Iterator[av.Packet]:
    yield from (packet for packet in container.demux(stream) if packet.size)


def _in_span(packets: Iterator[av.Packet], span: tuple[float, float]) -> Iterator[av.Packet]:
    """The packets that begin within the span, timed from its beginning."""
    last = -math.inf
    for packet in packets:
        if packet.pts is None or packet.is_discard:
            continue
        moment = packet.pts * packet.time_base
        if moment <= last:
            raise ValueError("its times do not rise")
        last = moment
        if moment >= span[1]:
            return
        begin = packet.pts - round(Fraction(span[0]) / packet.time_base)
        if begin >= 0:
            packet.pts = packet.dts = begin
            yield packet


def _time(packet: av.Packet) -> Fraction:
    stamp = packet.pts if packet.dts is None else packet.dts
    return (stamp or 0) * packet.time_base
