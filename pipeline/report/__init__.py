"""Tells what is in a data set and what was lost (`python -m pipeline report`).

`command`  the report and its page
`ledgers`  what the ledgers say
`shards`   what the records hold, and sample clips
`compare`  two data sets beside each other
`card`     the data card
`show`     the report on a terminal
"""
