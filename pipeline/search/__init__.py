"""Finds videos: search words in, a video list out (`python -m pipeline search`).

`command`    the words, one after the other, with patience
`searching`  the process that asks the sites: yt-dlp's searches, Flickr's API
`found`      the list in the making, which survives kills
"""
