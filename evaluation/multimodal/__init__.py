"""Labelled videos told apart by what is heard, by what is seen, and by both: the paper's table 7.

`command`   the sub-command
`labels`    which video is what
`videos`    what the network and the teachers say of each video
`judging`   linear SVMs on that, and how sure the figures are
`maps`      t-SNE of sound and of vision, the paper's figure 4
`findings`  tables, JSON, and what the page shows
"""
