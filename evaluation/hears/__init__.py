"""What the network hears: its first filters, and the moments that move each unit.

`command`   the sub-command
`study`     one pass over a data set's clips
`moments`   the greatest answers of each unit, kept while the clips go by
`names`     the teachers' classes that units agree with
`filters`   conv1's filters, as the paper's figure 5
`findings`  tables, JSON, and what the page shows
"""
