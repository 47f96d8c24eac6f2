"""`soundnet predict`: objects and scenes over time, of files or of sound that still comes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from soundnet.commands import options

if TYPE_CHECKING:
    from soundnet.model import Prediction

EXAMPLES = """\
examples:
  soundnet predict street.mp4 dog.wav          a table each
  soundnet predict --json sounds/ > heard.jsonl
  soundnet predict --follow --microphone       what is heard now, until Ctrl-C
  soundnet predict --follow recording.ogg      a file that is still being written
  curl -s https://radio.example/live.mp3 | soundnet predict --follow -
  arecord -q -f S16_LE -r 22050 -t raw | soundnet predict --follow - --raw 22050
"""


def add(commands) -> None:
    """Describe the command."""
    text = "Name objects and scenes over time, from the sound alone."
    parser = options.add(commands, "predict", _run, text, EXAMPLES)
    parser.add_argument("sounds", nargs="*", metavar="SOUND", help=options.SOUNDS_HELP)
    parser.add_argument("--top", type=options.count, default=5, metavar="K", help="classes (5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a step, not a table")
    parser.add_argument(
        "--allow-local-network",
        action="store_true",
        help="addresses may lead to this machine and the networks it is in",
    )
    options.add_weights(parser)
    live = parser.add_argument_group("sound that still comes")
    live.add_argument(
        "--follow",
        action="store_true",
        help="print each step as soon as all that it hears has come, of one SOUND: - or a file "
        "that grows",
    )
    live.add_argument(
        "--raw",
        type=_raw,
        metavar="RATE[,CHANNELS]",
        help="- brings bare 16-bit samples (little endian) at that rate, not a file",
    )
    live.add_argument(
        "--microphone",
        nargs="?",
        const="default",
        metavar="NAME",
        help="in place of a SOUND, a source of PulseAudio or PipeWire (`pactl list sources short`)",
    )


def _raw(text: str) -> tuple[int, int]:
    rate, _, channels = text.partition(",")
    try:
        found = int(rate), int(channels or 1)
    except ValueError:
        found = (0, 0)
    if not (1 <= found[0] <= 1_000_000 and 1 <= found[1] <= 8):
        raise argparse.ArgumentTypeError(f"{text!r} is no rate in Hz, as in 44100 or 44100,2")
    return found


def _run(args: argparse.Namespace) -> int:
    from soundnet.bulk import workers

    workers.use_threads()
    if args.follow:
        from soundnet.commands import follow

        return follow.run(args)
    if args.raw or args.microphone:
        options.complain("--raw and --microphone go with --follow")
        return 2
    import media
    from soundnet.bulk import addresses, sources
    from soundnet.model import load_model

    sounds = list(sources.find(args.sounds))
    if not sounds:
        options.complain("no sound is named; see soundnet predict --help")
        return 2
    model = load_model(args.weights)
    show = _print_json if args.json else _print_table
    code = 0
    for sound in sounds:
        try:
            with sources.opened(sound, args.allow_local_network) as path:
                heads = model.predict(path)
        except (media.MediaError, addresses.AddressError, sources.NoSourceError) as error:
            options.complain(f"{sound.name}: {error}")
            code = 1
        else:
            show(sound.name, heads, args.top)
    return code


def _print_json(name: str, heads: dict[str, Prediction], k: int) -> None:
    from soundnet.commands import heard

    any_head = next(iter(heads.values()))
    for time, top in heard.steps(heads, k):
        facts = {"file": name, "duration": any_head.duration, "tiled": any_head.tiled}
        print(heard.as_json(time, top, **facts), flush=True)


def _print_table(name: str, heads: dict[str, Prediction], k: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from soundnet.commands import heard

    any_head = next(iter(heads.values()))
    said = f"{any_head.duration:.1f} s of sound; a step hears {any_head.hears_seconds:.1f} s"
    if any_head.tiled:
        said = f"{any_head.duration:.1f} s of sound, repeated: too short for one step"
    table = Table(show_lines=True)
    table.add_column("seconds", justify="right")
    for head in heads:
        table.add_column(head, overflow="fold")
    for time, top in heard.steps(heads, k):
        cells = [
            "\n".join(f"{p:6.1%} {heard.readable(c)}" for c, p in best) for best in top.values()
        ]
        table.add_row(f"{time:.1f}", *map(Text, cells))
    console = Console()
    console.print(Text(f"{name}: {said}"), soft_wrap=True)
    console.print(table)
