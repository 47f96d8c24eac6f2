"""Many sounds at once: named, embedded by one process or several, kept, and not done twice.

`sources`    which sounds are meant: files, folders, globs, playlists, lists, addresses
`addresses`  a sound from the web, bounded, and nothing from the local network
`records`    what is kept of a sound, and how: one `.npz` or `.npy` each
`tables`     one Parquet or HDF5 file for all
`workers`    the processes that embed
`run`        the whole of it
"""
