"""The one door to ffmpeg: probe, waveform and frames of any file ffmpeg reads.

`extract`   clips of a video: sound and one picture per label step, in one pass of ffmpeg
`waveform`  the sound of a file or an array, as the networks hear it
`live`      the same of sound that still comes
`probe`     what a file holds
`process`   the ffmpeg process: found, told, bounded, ended
`limits`    how much one file may take
`guard`     what a download may reach
`errors`    what can be wrong with a file, by name
"""

from media.errors import CAUSES, MediaError
from media.extract import Segment, extract
from media.limits import Limits
from media.live import Microphone, Raw, stream_live
from media.probe import Probe, Stream, probe
from media.waveform import load_waveform, stream_waveform

__all__ = [
    "CAUSES",
    "Limits",
    "MediaError",
    "Microphone",
    "Probe",
    "Raw",
    "Segment",
    "Stream",
    "extract",
    "load_waveform",
    "probe",
    "stream_live",
    "stream_waveform",
]
