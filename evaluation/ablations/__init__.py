"""The paper's ablations, and what is beyond the paper, on one data set: every row trained alike.

`command`  the sub-command
`rows`     the rows, the settings in which each differs, and what the paper has them compare
`grid`     rows and seeds: trained and judged, a run that was stopped goes on
`tables`   the results, beside the paper's; which of its orderings they show
"""
