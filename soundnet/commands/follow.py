"""`soundnet predict --follow`: what is heard, as soon as it is."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np

import media
from soundnet.bulk.sources import STDIN, is_address
from soundnet.commands import heard, options
from soundnet.model import load_model


def run(args: argparse.Namespace) -> int:
    """Print each step of the heads as soon as all that it hears has come."""
    if refused := _refusal(args):
        options.complain(refused)
        return 2
    source = name = args.sounds[0] if args.sounds else f"microphone {args.microphone}"
    if args.microphone:
        source = media.Microphone(args.microphone)
    elif name == STDIN:
        source = sys.stdin.buffer
    told = False
    try:
        blocks = _Clocked(media.stream_live(source, media.Raw(*args.raw) if args.raw else None))
        model = load_model(args.weights)
        with contextlib.closing(model.predict_live(blocks)) as predictions:
            for heads in predictions:
                any_head = next(iter(heads.values()))
                # What a step hears reaches so far past its centre.
                behind = any_head.hears_seconds / 2
                if not (told or args.json):
                    told = True
                    print(
                        f"{name}: a step hears {any_head.hears_seconds:.1f} s, so what is printed "
                        f"is {behind:.1f} s old, and as much older as it took to compute",
                        flush=True,
                    )
                for when, top in heard.steps(heads, args.top):
                    latency = behind + blocks.seconds_since()
                    if args.json:
                        facts = {"file": name, "tiled": any_head.tiled, "latency": latency}
                        print(heard.as_json(when, top, **facts), flush=True)
                    else:
                        print(_line(when, top, blocks.seconds_since()), flush=True)
    except media.MediaError as error:
        options.complain(f"{name}: {error}")
        return 1
    return 0


def _refusal(args: argparse.Namespace) -> str | None:
    """What is wrong with the options, if anything."""
    if bool(args.microphone) == bool(args.sounds) or len(args.sounds) > 1:
        return "--follow takes one SOUND (- or a file that grows) or --microphone"
    if args.raw and args.sounds != [STDIN]:
        return "--raw is for standard input: soundnet predict --follow - --raw 44100"
    if args.microphone and sys.platform != "linux":
        return (
            "--microphone is for Linux; elsewhere pipe it in, as in `ffmpeg -f avfoundation -i :0 "
            "-f wav - | soundnet predict --follow -`"
        )
    if args.sounds == [STDIN] and sys.stdin.isatty():
        return "standard input is a terminal; pipe sound in, as in `cat x.ogg | soundnet ...`"
    if args.sounds and is_address(args.sounds[0]):
        return "fetch an address yourself: curl -s ADDRESS | soundnet predict --follow -"
    return None


def _line(when: float, top: heard.TopClasses, seconds: float) -> str:
    named = [
        f"{head}: " + ", ".join(f"{heard.readable(c)} {p:.1%}" for c, p in classes)
        for head, classes in top.items()
    ]
    return f"{when:8.1f} s  {'; '.join(named)}  (+{seconds:.2f} s)"


class _Clocked:
    """Blocks, and how long ago the last of them came."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = blocks
        self._last = time.monotonic()

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self._last = time.monotonic()
            yield block

    def seconds_since(self) -> float:
        return time.monotonic() - self._last
