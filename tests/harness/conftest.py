"""What tests of results on an object store share: a store of their own."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

SERVER = Path(__file__).parent / "s3_server.py"


@pytest.fixture(scope="session")
def endpoint():
    """An S3 server; one for all tests, as fsspec keeps the client that it made first."""
    server = subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def s3(endpoint, tmp_path, monkeypatch):
    """A fresh folder in a bucket, mirrored in a folder of the test's own."""
    import fsspec

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "ZOOMBENCH_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3")
    if not files.exists("bucket"):
        files.mkdir("bucket")
    return f"s3://bucket/{uuid.uuid4().hex[:8]}"
