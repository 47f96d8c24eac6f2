"""How videos get here, politely and safely.

`download`      hands addresses to a process of its own, and ends it when it takes too long
`downloading`   that process: yt-dlp, guarded
`formats`       which of the forms that a site offers is taken
`sections`      how ffmpeg takes a section of a video without reaching for the network itself
`causes`        which cause of the ledger an error is
`media_folder`  downloads that are kept
"""
