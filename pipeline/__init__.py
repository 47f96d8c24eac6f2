"""What makes data: videos in, TFRecords out (Apache Beam).

`graph`         the two Beam graphs, from top to bottom
`settings`      what a build is made with
`build`         a build: portions, the two graphs of each, what came of it
`running`       runs a graph, and ends it: on Ctrl-C, when a worker or a disk fails
`todo`          what is to do: videos, shared out among lanes
`schedule`      whose turn it is to be downloaded
`reading`       reads the videos of a lane: downloads ahead, ffmpegs, clips
`gates`         what is measured of clips, and which are left out
`steps`         the graphs' DoFns
`store`         the output folder: files by name, written atomically, on any of Beam's filesystems
`object_store`  gs:// and s3://
`dry_run`       what would be done
`worker`        the local runner's worker process
`progress`      what a person watches
`options`       what the commands' options take
`downloads`     yt-dlp, guarded
`search`        `python -m pipeline search`
`report`        `python -m pipeline report`
`authors`       `python -m pipeline import`
"""
