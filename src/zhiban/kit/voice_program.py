"""Turn a voice recording into MP3, or only measure it: python -I voice_program.py FORMAT SOURCE [TARGET]

A program of its own, run by `kit.voice` and importing nothing of ours: decoders are large and read what strangers
send, so they live for one recording, with limits on time, memory and output, and without our environment.
Prints {"seconds": …}. Exit code 1 and a sentence on standard error when it cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

try:
    import av
except ImportError:
    raise SystemExit(3) from None  # `kit.voice` says in words what is missing

CPU_SECONDS = 60
MEMORY = 2 << 30  # bytes of address space; the libraries map much more than they use
OUTPUT = 32 << 20
LONGEST = 3600  # seconds of sound that are read
RATE = 16_000  # samples a second: what wide-band voice has, and what every browser plays
BIT_RATE = 32_000


def limit() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, OUTPUT),
    ):
        _soft, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def heard(form: str, source: str) -> Iterator[av.AudioFrame]:
    """The sound, as one channel of RATE samples a second."""
    with av.open(source, format=form) as recording:
        if not recording.streams.audio:
            return
        resampler = av.AudioResampler(format="s16p", layout="mono", rate=RATE)
        seconds = 0.0
        for packet in recording.demux(recording.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # one damaged frame of 20 ms does not spoil the rest
            for part in (part for frame in frames for part in resampler.resample(frame)):
                seconds += part.samples / RATE
                yield part
            if seconds > LONGEST:
                return


def measure(form: str, source: str) -> float:
    """The recording's length in seconds."""
    return sum(part.samples for part in heard(form, source)) / RATE


def convert(form: str, source: str, target: str) -> float:
    """Write the recording as MP3; returns its length in seconds."""
    samples = 0
    with av.open(target, "w", format="mp3") as written:
        stream = written.add_stream("libmp3lame", rate=RATE)
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        for part in heard(form, source):
            samples += part.samples
            written.mux(stream.encode(part))
        written.mux(stream.encode(None))
    return samples / RATE


def main() -> int:
    limit()
    form, source, *target = sys.argv[1:]
    try:
        seconds = convert(form, source, *target) if target else measure(form, source)
    except (OSError, ValueError, MemoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not seconds:
        sys.stderr.write("no sound\n")
        return 1
    sys.stdout.write(json.dumps({"seconds": round(seconds, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
