"""A process of one's own: its result, its errors and Ctrl-C come back; files are whole or not there."""

import os
import signal
import threading
import time

import psutil
import pytest

from textrec_utils.cache import in_own_process, write_atomic


def test_a_process_of_its_own_gives_results_and_errors():
    assert in_own_process(os.getpid) not in (os.getpid(), os.getppid())
    assert in_own_process(int, "11", base=3) == 4
    with pytest.raises(ValueError, match="invalid literal"):
        in_own_process(int, "eleven")


def test_ctrl_c_does_not_wait_for_the_other_process():
    def press():
        while not any("spawn_main" in " ".join(c.cmdline()) for c in psutil.Process().children()):
            time.sleep(0.05)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        in_own_process(time.sleep, 120)
    assert time.monotonic() - started < 60


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_atomic(tmp_path / "a", b"new and longer")
    assert (tmp_path / "a").read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a"]
