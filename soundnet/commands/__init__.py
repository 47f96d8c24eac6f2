"""The subcommands of `soundnet`, a module each: `add` describes it, and what runs it is told to.

What is heavy is imported where it is used, so that `soundnet --help` is there at once.
"""
