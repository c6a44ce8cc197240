"""Workers that are forked with the tests loaded."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "tools" / "preloaded.py"
LINE = "import sys;exec(eval(sys.stdin.readline()))"


def test_who_goes_away_before_all_is_said_keeps_nobody_waiting(tmp_path: Path) -> None:
    address = str(tmp_path / "workers")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        serving = subprocess.Popen(
            [sys.executable, str(PROGRAM), "serve", str(listener.fileno()), str(tmp_path)],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
        )
    with serving:
        for head in (b"", (1000).to_bytes(8, "big")):
            with socket.socket(socket.AF_UNIX) as gone:
                gone.connect(address)
                if head:
                    with open(os.devnull) as nothing:
                        socket.send_fds(gone, [head], [nothing.fileno()] * 3)
        asked = [sys.executable, str(PROGRAM), address, "-u", "-c", LINE]
        said = repr("import sys; print('pytest' in sys.modules)") + "\n"
        try:
            worked = subprocess.run(asked, input=said, capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            serving.kill()
            raise
    assert worked.stdout == "True\n", worked.stderr


def test_who_helps_begins_at_the_end(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    for name in ("b/test_two.py", "b/test_one.py", "a/test_one.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"with open({str(loaded)!r}, 'a') as file:\n    file.write({name!r} + ' ')\n")
    program = f"import preloaded; preloaded.collect([{str(tmp_path)!r}, '--import-mode=importlib'], from_the_end=True)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (PROGRAM.parent, PROGRAM.parents[1])))}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, timeout=60, check=True)
    assert loaded.read_text().split() == ["b/test_two.py", "b/test_one.py", "a/test_one.py"]
