"""Write a picture anew with nothing but its pixels: python -I picture_program.py FORMAT SOURCE TARGET BYTES

A program of its own, run by `kit.pictures` and importing nothing of ours: decoders read what strangers send, so they
live for one picture, with limits on time, memory, pixels and output, and without our environment.
Prints {"format": …, "width": …, "height": …}. Exit code 1 when it cannot be read, 4 when it is too large.
"""

from __future__ import annotations

import io
import json
import sys
import warnings
from pathlib import Path

try:
    from PIL import Image, ImageCms, ImageOps, ImageSequence
except ImportError:
    raise SystemExit(3) from None  # `kit.pictures` says in words what is missing

CPU_SECONDS = 40
MEMORY = 2 << 30  # bytes of address space; the libraries map much more than they use
PIXELS = 40_000_000  # of one picture
MOVING_PIXELS = 60_000_000  # of all pictures of one that moves; of a longer one the first stays
SMALLER = 0.7  # by which its sides shrink until it is small enough
QUALITY = 85


class PictureTooLarge(Exception):
    """It has more pixels than anybody needs to see, or cannot be made small enough."""


def limit(most_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 2 * most_bytes),
    ):
        _soft, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def pixels_of(image: Image.Image) -> Image.Image:
    """The picture as it is meant to be seen, in colours that every browser knows, and nothing beside its pixels."""
    image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    elif image.mode in ("I", "F"):
        image = ImageOps.autocontrast(image.convert("L"))
    see_through = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        image = in_srgb(image, profile)
    image = image.convert("RGBA" if see_through else "L" if image.mode in ("1", "L") else "RGB")
    return Image.frombytes(image.mode, image.size, image.tobytes())


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """In the colours of the web; a profile that is none is as good as absent."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        meant = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        turned = ImageCms.profileToProfile(image, meant, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return turned or image


def written(image: Image.Image, form: str, most_bytes: int) -> tuple[bytes, str, tuple[int, int]]:
    """A still picture: in its own format, or as a JPEG where that is too large, and smaller where that is, too."""
    while min(image.size) >= 16:
        for each in dict.fromkeys((form, "WEBP" if image.mode == "RGBA" else "JPEG")):
            made = io.BytesIO()
            image.save(made, each, **({"quality": QUALITY} if each in ("JPEG", "WEBP") else {}))
            if made.tell() <= most_bytes:
                return made.getvalue(), each, image.size
        image = image.resize((int(image.width * SMALLER), int(image.height * SMALLER)), Image.Resampling.LANCZOS)
    raise PictureTooLarge


def moving(image: Image.Image, form: str, most_bytes: int) -> bytes | None:
    """A picture that moves, as it moves; None where that is too much."""
    frames, times = [], []
    seen = 0
    for frame in ImageSequence.Iterator(image):
        seen += frame.width * frame.height
        if seen > MOVING_PIXELS:
            return None
        times.append(min(max(int(frame.info.get("duration", 100)), 20), 60_000))
        frames.append(pixels_of(frame))
    made = io.BytesIO()
    again = {"loop": 0} if "loop" in image.info else {}
    frames[0].save(made, form, save_all=True, append_images=frames[1:], duration=times, **again)
    return made.getvalue() if made.tell() <= most_bytes else None


def clean(form: str, source: str, target: str, most_bytes: int) -> dict[str, object]:
    with Image.open(source, formats=[form]) as image:
        if image.width * image.height > PIXELS:
            raise PictureTooLarge
        size, moves = image.size, getattr(image, "is_animated", False) and form in ("GIF", "WEBP")
        data = moving(image, form, most_bytes) if moves else None
        if data is None:
            image.seek(0)
            still = "PNG" if form == "GIF" else form
            data, form, size = written(pixels_of(image), still, most_bytes)
    Path(target).write_bytes(data)
    return {"format": form, "width": size[0], "height": size[1]}


def main() -> int:
    form, source, target, most = sys.argv[1:]
    limit(int(most))
    Image.MAX_IMAGE_PIXELS = PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        made = clean(form, source, target, int(most))
    except (PictureTooLarge, Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError):
        return 4
    except Exception as error:  # noqa: BLE001 -- whatever a decoder of a hostile file comes up with
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
