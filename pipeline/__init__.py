"""What makes data: videos in, TFRecords out (Apache Beam).

`graph`          the two Beam graphs, from top to bottom
`settings`       what a build is made with
`build`          runs the graphs: what is to do, progress, what came of it
`store`          the output folder: files by name, written atomically, on any of Beam's filesystems
`steps`          the graphs' DoFns
`download`       hands addresses to a process of its own, and ends it when it takes too long
`downloading`    that process: yt-dlp, guarded
`worker`         the local runner's worker process
`progress`       what a person watches
"""
