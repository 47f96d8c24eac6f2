"""What judges: weights in, the paper's tables out. `python -m evaluation COMMAND --help`.

Each experiment is a package of its own, whose `command` adds its sub-commands:

`classify`  sounds named by what the layers compute: ESC, DCASE, UrbanSound8K, your own
`baselines` the methods that SoundNet is held against
`ablations` what matters: networks that differ in one thing each, trained alike
`hears`     what moves each unit: a page to search, to look at and to listen to
`multimodal`  labelled videos by what is heard, what is seen, and both
`card`      a model card, with the figures that the others found

What they share:

`datasets`  sounds with labels and folds, as their data sets lay them out
`features`  what layers say of sounds, computed once and kept
`clips`     the clips of a data set that the pipeline made
`exhibits`  clips that a page lets you look at and hear
`protocol`  the published way from features to an accuracy
`svm`       its classifier
`paper`     the figures to compare with
`report`    results as Markdown, CSV, JSON and a page
`options`   options that several commands have
`progress`  how far a command is
`machine`   what it ran on
`errors`    what can't be judged
"""
