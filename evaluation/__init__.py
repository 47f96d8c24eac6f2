"""What judges: weights in, the paper's tables out. `python -m evaluation esc10 --data DIR`.

`paper`     the figures to compare with
`datasets`  sounds with labels and folds, as their data sets lay them out
`esc`       ESC-10 and ESC-50, start to finish
`protocol`  the published way from features to an accuracy
`report`    the table, as Markdown and JSON
"""
