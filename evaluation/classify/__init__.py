"""Sounds named by what a network's layers compute: linear SVMs, the data set's own folds.

`command`     the sub-commands, one a data set
`evaluating`  a data set, start to finish
`labelled`    data sets of one's own: a folder or a list
`better`      a better protocol than the published one
`tables`      the results, beside the paper's
`page`        what the page shows besides
"""
