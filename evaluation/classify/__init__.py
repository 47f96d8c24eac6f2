"""Sounds told apart by what a network's layers compute: linear SVMs, the data set's own folds.

`command`     the sub-commands
`evaluating`  a data set, start to finish
`tables`      the results, beside the paper's
"""
