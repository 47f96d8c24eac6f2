"""The commands' own parsers, to hold the documents' commands against."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import ROOT


def parser_of(words: Sequence[str]) -> tuple[argparse.ArgumentParser | None, list[str]]:
    """The parser of one of our commands, and the words that it gets.

    None for a command that has no parser to ask without being run, as the benchmarks.
    """
    if words[0] == "soundnet":
        from soundnet.cli import _parser

        return _parser(), list(words[1:])
    module, rest = words[2], list(words[3:])
    if module == "pipeline":
        from pipeline.__main__ import COMMANDS, parser

        if rest and rest[0] in COMMANDS:
            command = importlib.import_module(f"pipeline.{COMMANDS[rest[0]]}.command")
            return command.parser(), rest[1:]
        return parser(), rest
    if module == "trainer.task":
        from trainer.task import DISTILL, build_parser

        return build_parser(rest[rest.index("--task") + 1] if "--task" in rest else DISTILL), rest
    if module in ("evaluation", "reproduce"):
        return importlib.import_module(f"{module}.__main__").parser(), rest
    return None, rest


def complaint(words: Sequence[str]) -> str:
    """What a command's parser says against its words; "" if it takes them."""
    parser, rest = parser_of(words)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _, left = parser.parse_known_args(rest)
    except SystemExit as ended:
        return said.getvalue() if ended.code else ""
    if words[1:3] == ["-m", "pipeline"]:  # what it doesn't know goes to Beam
        from pipeline.running import strange_options

        left = strange_options(left)
    return f"unknown: {' '.join(left)}" if left else ""


def known(words: Sequence[str]) -> set[str]:
    """The long options that a command has, those of all its sub-commands if none is named."""
    parser, rest = parser_of(words)
    if parser is None:
        path = ROOT.joinpath(*words[2].split("."))
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        return {"--help"}.union(*map(in_source, files))
    return set(_options(parser, rest))


def in_source(path: Path) -> set[str]:
    """The long options that a file adds to a parser: by name, or as a setting of a training."""
    text = path.read_text("utf-8")
    settings = re.findall(r"^    (\w+): .+ = setting\(", text, re.MULTILINE)
    named = re.findall(r'"(--[a-z][a-z-]*)"', text)
    return {*named, *(f"--{name.replace('_', '-')}" for name in settings)}


def _options(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[str]:
    yield from (name for name in parser._option_string_actions if name.startswith("--"))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            named = [word for word in words if word in action.choices][:1]
            for name in named or action.choices:
                yield from _options(action.choices[name], words)
