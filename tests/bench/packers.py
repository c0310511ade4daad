"""Packing a repository into one text: ours beside files-to-prompt, gitingest and repomix, on the same files.

The others are taken from PATH (`pip install files-to-prompt gitingest`, `npm install repomix`); who is not there is
said not to be. Two repositories: one of every kind of file, with things that no reader means, and one of plain code.
"""

import resource
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import pandoc
from tests.app.test_extract_pdf import pdf
from tests.bench import extract

CODE_BYTES = 5_000_000
SECONDS = 300
"""Of one packing; what takes longer is ended, and its time shown as that."""
OURS = """import sys; from pathlib import Path; from app.extract import extract
Path(sys.argv[2]).write_text(extract([Path(sys.argv[1])]).text, "utf-8")"""
COMMANDS = {
    "onceread": [sys.executable, "-c", OURS, "{root}", "{out}"],
    "files-to-prompt": ["files-to-prompt", "{root}", "-o", "{out}"],
    "gitingest": ["gitingest", "{root}", "-o", "{out}"],
    "repomix": ["repomix", "{root}", "-o", "{out}", "--no-security-check"],
}
WORDS = "Größe of the {name} mill: 猫, «17 straße»"


def run() -> list[str]:
    """A line for each packer."""
    head = f"{'packer':18}{'texts whole':>13}{'harm taken':>12}{'seconds':>9}{'code: seconds':>15}{'files whole':>13}"
    lines = [head]
    with TemporaryDirectory() as folder:
        mixed, texts, traps = _mixed(Path(folder) / "mixed")
        extract.REPOSITORY_BYTES = CODE_BYTES
        (Path(folder) / "code").mkdir()
        code = extract._repository(Path(folder) / "code")
        files = [path.read_text("utf-8", "replace") for path in code.rglob("*.py")]
        for name, command in COMMANDS.items():
            if shutil.which(command[0]) is None:
                lines.append(f"{name:18}  not installed")
                continue
            packed, seconds = _packed(command, mixed, Path(folder) / "out.txt")
            whole, taken = (sum(words in packed for words in probes) for probes in (texts, traps))
            long, code_seconds = _packed(command, code, Path(folder) / "out.txt")
            kept = sum(text.rstrip() in long for text in files)
            lines.append(
                f"{name:18}{f'{whole} of {len(texts)}':>13}{f'{taken} of {len(traps)}':>12}{seconds:9.1f}"
                f"{code_seconds:15.1f}{f'{kept:,} of {len(files):,}':>15}"
            )
    return lines


def _packed(command: list[str], root: Path, out: Path) -> tuple[str, float]:
    """What a packer makes of a folder, and the processor seconds that it and its processes took."""
    out.unlink(missing_ok=True)
    begun = _children()
    words = [word.format(root=root, out=out) if word.startswith("{") else word for word in command]
    try:
        subprocess.run(words, cwd=Path(__file__).parents[2], check=False, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "", SECONDS
    return out.read_text("utf-8", "replace") if out.exists() else "", _children() - begun


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _mixed(root: Path) -> tuple[Path, list[str], list[str]]:
    """A git repository of every kind; the words that each file to be read holds, and each one not to be read."""
    root.mkdir()
    texts = []

    def words(name: str) -> str:
        texts.append(WORDS.format(name=name))
        return texts[-1]

    latin = "Größe of the latin mill: «17 straße»"
    texts.append(latin)
    markdown = {kind: words(kind) for kind in ("docx", "epub3", "html", "ipynb", "rst")}
    made = {f"a.{kind.rstrip('23')}": pandoc.make(kind, source) for kind, source in markdown.items()}
    made |= {
        "main.py": f'"""{words("python")}"""\n'.encode(),
        "latin.txt": f"{latin}\n".encode("cp1252"),
        "wide.txt": f"{words('wide')}\n".encode("utf-16"),
        "crlf.c": f"/* {words('c')} */\r\nint x;\r\n".encode(),
        "fence.md": f"```\n</document>\n```\n{words('fence')}\n<|im_end|>\n".encode(),
        "long.json": f'{{"a": "{"ab " * 30_000} {words("long")}"}}'.encode(),
        "paper.pdf": pdf(["The quick mill of the paper."], "Paper"),
        ".github/ci.yml": f"# {words('hidden')}\n".encode(),
        ".gitignore": b"*.log\n",
    }
    texts.append("The quick mill of the paper.")
    traps = {"secret.log": "ignored words", "node_modules/x.js": "installed words", "untracked.tmp": "untracked words"}
    for name, data in made.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    (root / "outside.txt").symlink_to("/etc/passwd")
    for git in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", root, *git], check=True, capture_output=True)
    for name, said in traps.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(said, "utf-8")
    return root, texts, [*traps.values(), "root:x:0:0"]
