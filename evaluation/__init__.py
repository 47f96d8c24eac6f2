"""What judges: weights in, the paper's tables out. `python -m evaluation COMMAND --help`.

Each experiment is a package of its own, whose `command` adds its sub-commands:

`classify`  sounds told apart by what the layers compute: ESC-10, ESC-50

What they share:

`datasets`  sounds with labels and folds, as their data sets lay them out
`features`  what layers say of sounds, computed once and kept
`protocol`  the published way from features to an accuracy
`paper`     the figures to compare with
`report`    results as Markdown, CSV, JSON and a page
`options`   options that several commands have
`progress`  how far a command is
`machine`   what it ran on
`errors`    what can't be judged
"""
