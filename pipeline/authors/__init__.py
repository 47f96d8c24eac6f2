"""Takes the authors' release: their lists, label binaries and sounds in, a data set out
(`python -m pipeline import`).

`release`    what the authors published, as it lies on a disk
`importing`  its videos as clip records
`command`    the command
"""
